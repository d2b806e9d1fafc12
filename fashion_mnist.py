# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse
from pyimagesearch.backend import keras  # first: it reports a missing package
from pyimagesearch import cli, datasets
from pyimagesearch.history import SaveHistory
from pyimagesearch.minivggnet import MiniVGGNet
from pyimagesearch.reasons import MeasureReasons
from sklearn.metrics import classification_report

# The tutorial's one flag; `parse_training_flags` adds ours. See --help.
ap = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
ap.add_argument(
    "-i", "--history", default="training.pickle", help="file to save the history in"
)
args = cli.parse_training_flags(ap)
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
# The seed decides the first weights, dropout and the order of the images.
keras.utils.set_random_seed(args.seed)

# Each finished epoch is saved at once. Ctrl-C says how many there are.
save_history = SaveHistory(args.history)
cli.explain_interrupt(save_history.summary)

# Load the images; count those that are in both sets, pixel for pixel.
print("[INFO] loading the images...")
name, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)
leaks = datasets.count_leaks(trainX, testX)
print(f"[INFO] test images that are training images as well: {leaks} of {len(testX)}")

# Convolutions need a channel axis, and networks learn better from numbers from 0 to 1.
trainX, testX = trainX[..., None], testX[..., None]
trainX = trainX.astype("float32") / 255
testX = testX.astype("float32") / 255

# One-hot encode the labels, as the loss expects them:
# 3 becomes [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].
trainY = keras.utils.to_categorical(trainY, 10)
testY = keras.utils.to_categorical(testY, 10)
# Set --hold-out training images aside.
training, held_out = datasets.hold_out(name, trainX, trainY, args.hold_out, args.seed)
labelNames = ["top", "trouser", "pullover", "dress", "coat", "sandal", "shirt"]
labelNames += ["sneaker", "bag", "ankle boot"]
train = datasets.batches(*training, BS, seed=args.seed)
test = datasets.batches(testX, testY, BS)
print(f"[INFO] training MiniVGGNet on {len(training[0])} images of {name}...")
schedule = keras.optimizers.schedules.InverseTimeDecay(INIT_LR, 1, INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(schedule, momentum=0.9)  # the rate falls with each update
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
callbacks = [save_history]
if args.reasons:  # first in the list, so that save_history gets its numbers
    callbacks.insert(0, MeasureReasons(training, (testX, testY), held_out, BS))
H = model.fit(  # `train` shuffles itself in each epoch
    train, validation_data=test, epochs=EPOCHS, shuffle=False, callbacks=callbacks
)
print(f"[INFO] evaluating on {len(testX)} images of {name}...")
if name == "digits":
    labelNames = list("0123456789")
predictions, truth = model.predict(test).argmax(axis=1), testY.argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

# Only now is an earlier history in this file replaced.
print(f"[INFO] saving the history to {args.history}...")
save_history.complete(H.history)
print(f"[INFO] {save_history.summary()}")

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 8)
