# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse
from pyimagesearch import cli, datasets, history, reasons
from pyimagesearch.backend import keras
from pyimagesearch.minivggnet import MiniVGGNet
from keras.optimizers.schedules import InverseTimeDecay
from sklearn.metrics import classification_report

# The flags, all with a default.
# cli.number(int, 1): a whole number from 1 on.
ap = argparse.ArgumentParser(description="Train MiniVGGNet, and save its history.")
ap.add_argument("-i", "--history", default="training.pickle", help="where to save it")
ap.add_argument("--dataset", choices=datasets.NAMES, help="default first available")
ap.add_argument("--no-dropout", action="store_true", help="leave dropout out")
ap.add_argument("--epochs", type=cli.number(int, 1), default=25, help="default 25")
ap.add_argument("--batch-size", type=cli.number(int, 1), default=32, help="default 32")
ap.add_argument("--lr", type=cli.number(float, 1e-9), default=0.01, help="default 0.01")
ap.add_argument("--seed", type=cli.number(int, 0), default=42, help="default 42")
ap.add_argument("--reasons", action="store_true", help="measure what makes the gap")
args = ap.parse_args()
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
save_history = history.SaveHistory(args.history)
cli.begin(save_history.summary)  # Ctrl-C says what is saved
keras.utils.set_random_seed(args.seed)
print("[INFO] loading the images...")
dataset, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)
print(f"[INFO] images in both sets (leaks): {datasets.count_leaks(trainX, testX)}")

# Convolutions expect a channel axis, which grey images lack: here it is the last one.
keras.config.set_image_data_format("channels_last")
trainX, testX = trainX[..., None], testX[..., None]

# Pixels are whole numbers from 0 to 255; networks learn better from 0 to 1.
trainX, testX = trainX.astype("float32") / 255, testX.astype("float32") / 255

# One-hot encode the labels: 3 becomes [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].
trainY = keras.utils.to_categorical(trainY, 10)
testY = keras.utils.to_categorical(testY, 10)
train = datasets.deal(trainX, trainY, BS, seed=args.seed)
test = datasets.deal(testX, testY, BS)
labelNames = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt"]
labelNames += ["sneaker", "bag", "ankle boot"]
if dataset == "digits":
    labelNames = list("0123456789")
print(f"[INFO] training MiniVGGNet on {len(trainX)} images of {dataset}...")
schedule = InverseTimeDecay(INIT_LR, decay_steps=1, decay_rate=INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(learning_rate=schedule, momentum=0.9)
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
callbacks = [save_history]
if args.reasons:
    callbacks.insert(0, reasons.MeasureReasons((trainX, trainY), (testX, testY), BS))
H = model.fit(  # not trainX, trainY: after a seed, each epoch had the same batches
    train, validation_data=test, epochs=EPOCHS, shuffle=False, callbacks=callbacks
)
# Precision and recall of each class, on the test set.
print(f"[INFO] evaluating on {len(testX)} images of {dataset}...")
truth = testY.argmax(axis=1)
predictions = model.predict(test).argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

# Every finished epoch is in PATH.part already. The whole history goes to PATH, and only
# now replaces what an earlier run left there.
print(f"[INFO] saving the history to {args.history}...")
save_history.complete(H.history)
print(f"[INFO] {save_history.summary()}")

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 8)
