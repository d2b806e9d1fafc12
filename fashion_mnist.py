# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse  # noqa: I001, the tutorial cites the imports as lines 2 to 8
from pyimagesearch.cli import number, on_interrupt
from pyimagesearch import callbacks, datasets
from pyimagesearch.backend import keras
from pyimagesearch.history import HistoryFile
from pyimagesearch.minivggnet import MiniVGGNet
from sklearn.metrics import classification_report

# The flags. number(int, 1): a whole number from 1 on; SUPPRESS: errors in one line.
ap = argparse.ArgumentParser(description="Train MiniVGGNet", usage=argparse.SUPPRESS)
ap.add_argument("-i", "--history", default="training.pickle", help="where to save it")
ap.add_argument("--dataset", choices=datasets.NAMES, help="default: first available")
ap.add_argument("--no-dropout", action="store_true", help="train harder: no dropout")
ap.add_argument("--epochs", type=number(int, 1), default=25, help="default: 25")
ap.add_argument("--batch-size", type=number(int, 1), default=32, help="default: 32")
ap.add_argument("--lr", type=number(float, 0), default=0.01, help="default: 0.01")
ap.add_argument("--seed", type=number(int, 0), default=42, help="default: 42")
ap.add_argument("--reasons", action="store_true", help="measure the three reasons")
args = ap.parse_args()
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
history_file = HistoryFile(args.history)
on_interrupt(history_file.summary)  # Ctrl-C says what is saved
keras.utils.set_random_seed(args.seed)
print("[INFO] loading the images...")
dataset, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)

# Convolutions expect a channel axis, which grey images lack: the last one, as a rule.
channels_first = keras.config.image_data_format() == "channels_first"
shape = (-1, 1, 28, 28) if channels_first else (-1, 28, 28, 1)
trainX, testX = trainX.reshape(shape), testX.reshape(shape)

# Pixels are whole numbers from 0 to 255; networks learn better from 0 to 1.
trainX, testX = trainX.astype("float32") / 255, testX.astype("float32") / 255

# One-hot encode the labels: 3 becomes [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].
trainY = keras.utils.to_categorical(trainY, 10)
testY = keras.utils.to_categorical(testY, 10)
data = (trainX, trainY), (testX, testY)
# What the labels 0 to 9 stand for.
labelNames = ["top", "trouser", "pullover", "dress", "coat"]
labelNames += ["sandal", "shirt", "sneaker", "bag", "ankle boot"]
labelNames = list("0123456789") if dataset == "digits" else labelNames
# Every (1) update lowers the rate: INIT_LR / (1 + INIT_LR / EPOCHS * updates).
print("[INFO] building MiniVGGNet...")
schedule = keras.optimizers.schedules.InverseTimeDecay(INIT_LR, 1, INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(learning_rate=schedule, momentum=0.9)
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
print(f"[INFO] training on {len(trainX)} images of {dataset}...")
after_epoch = callbacks.after_epoch(history_file, args.reasons, *data, BS)
train = datasets.deal(trainX, trainY, BS, seed=args.seed)
test = datasets.deal(testX, testY, BS)
# New batches in every epoch; fit(trainX, trainY) would repeat them after a fixed seed.
H = model.fit(train, validation_data=test, epochs=EPOCHS, shuffle=False, **after_epoch)
# Precision and recall of each class, on the test set.
print(f"[INFO] evaluating on {len(testX)} images of {dataset}...")
truth = testY.argmax(axis=1)
predictions = model.predict(test).argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

# The whole history goes where that of every finished epoch went, into PATH.part.
print(f"[INFO] saving the history to {args.history}...")
history_file.save(H.history)
# Only now does PATH.part become PATH, and replace what an earlier run left there.
history_file.complete()
