# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse
from pyimagesearch.backend import keras
from pyimagesearch import cli, datasets, history, reasons
from pyimagesearch.minivggnet import MiniVGGNet
from keras.optimizers.schedules import InverseTimeDecay
from sklearn.metrics import classification_report

# The flags. All have defaults, which --help tells in brackets, so none is needed. One
# with "store_true" takes no value: it is there, or not.
ap = argparse.ArgumentParser(description="Train. First look: --epochs 2 --reasons")
flag = ap.add_argument
flag("-i", "--history", default="training.pickle", help="saved there (training.pickle)")
flag("--dataset", choices=["fashion-mnist", "digits"], help="(digits if offline)")
flag("--epochs", type=int, default=25, help="passes over the images (25)")
flag("--batch-size", type=int, default=32, help="images per update (32)")
flag("--lr", type=float, default=0.01, help="learning rate at the start (0.01)")
flag("--seed", type=int, default=42, help="one seed, one history, on one machine (42)")
flag("--reasons", action="store_true", help="measure timing, regularization and data")
flag("--hold-out", type=int, default=0, metavar="N", help="not trained on (0)")
flag("--no-dropout", action="store_true", help="leave dropout out")
args = ap.parse_args()
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
if min(EPOCHS, BS) < 1 or not INIT_LR > 0 or not 0 <= args.seed < 2**32:
    ap.error("--epochs, --batch-size: from 1 on; --lr: above 0; --seed: 0 to 2**32 - 1")
save_history = history.SaveHistory(args.history)
cli.begin(save_history.summary)  # Ctrl-C says what is saved
keras.utils.set_random_seed(args.seed)
print("[INFO] loading the images...")
dataset, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)
print(f"[INFO] test images also trained on: {datasets.count_leaks(trainX, testX)}")

# Convolutions need a channel axis; networks learn better from 0 to 1 than to 255.
trainX, testX = trainX[..., None], testX[..., None]
trainX, testX = trainX.astype("float32") / 255, testX.astype("float32") / 255

# One-hot encode the labels: 3 becomes [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].
trainY = keras.utils.to_categorical(trainY, 10)
testY = keras.utils.to_categorical(testY, 10)
N, held_out = args.hold_out, None

labelNames = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt"]
labelNames += ["sneaker", "bag", "ankle boot"]
if N:  # training images that are as new to the network as the test images
    (trainX, trainY), held_out = datasets.hold_out(dataset, trainX, trainY, N, args.seed)
train, test = datasets.deal(trainX, trainY, BS, seed=args.seed), datasets.deal(testX, testY, BS)
print(f"[INFO] training MiniVGGNet on {len(trainX)} images of {dataset}...")
schedule = InverseTimeDecay(INIT_LR, decay_steps=1, decay_rate=INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(learning_rate=schedule, momentum=0.9)  # falls each update
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
callbacks = [save_history]
if args.reasons:  # first in the list, so that save_history gets its numbers
    callbacks.insert(0, reasons.MeasureReasons((trainX, trainY), (testX, testY), held_out, BS))
H = model.fit(  # train shuffles itself, anew each epoch; seeded arrays would not
    train, validation_data=test, epochs=EPOCHS, shuffle=False, callbacks=callbacks
)
# Precision and recall of each class, on the test set.
print(f"[INFO] evaluating on {len(testX)} images of {dataset}...")
truth = testY.argmax(axis=1)
if dataset == "digits":
    labelNames = list("0123456789")
predictions = model.predict(test).argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

# Every finished epoch is in training.pickle.part already. Only now does the history go
# to training.pickle, and replace what an earlier run left there.
print(f"[INFO] saving the history to {args.history}...")
save_history.complete(H.history)
print(f"[INFO] {save_history.summary()}")

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 8)
