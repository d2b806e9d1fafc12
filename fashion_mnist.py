# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse
import pickle
from pyimagesearch import terminal  # first: if a package is missing, it says so
from sklearn.metrics import classification_report
from pyimagesearch import datasets  # loads Keras's fashion_mnist, or digits
from pyimagesearch.minivggnet import MiniVGGNet


# The tutorial's one flag; `parse_training_flags` adds ours. See --help.
ap = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
ap.add_argument(
    "-i", "--history", default="training.pickle", help="file to save the history in"
)
args = terminal.parse_training_flags(ap)
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
table = terminal.prepare_history(args.history)  # each epoch goes there as it ends
# Keras takes seconds to start, so it does only now, when the flags are right.
keras = terminal.start_keras()
from pyimagesearch.reasons import MeasureReasons

saving = [keras.callbacks.CSVLogger(table), keras.callbacks.TerminateOnNaN()]
keras.utils.set_random_seed(args.seed)  # first weights, dropout, order of the images
print("[INFO] loading the images...")
dataset, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)
leaks = datasets.count_leaks(trainX, testX)
print(f"[INFO] test images that are training images as well: {leaks} of {len(testX)}")
# Set --hold-out training images aside, to measure on.
parts = datasets.hold_out(dataset, trainX, trainY, args.hold_out, args.seed)
(trainX, trainY), (heldX, heldY) = parts
# Convolutions need a channel axis, and networks learn better from numbers from 0 to 1.
trainX = trainX[..., None].astype("float32") / 255
testX = testX[..., None].astype("float32") / 255
heldX = heldX[..., None].astype("float32") / 255
# One-hot encode the labels, as the loss expects them:
# 3 becomes [0, 0, 0, 1, 0, 0, 0, 0, 0, 0].
trainY = keras.utils.to_categorical(trainY, 10)
testY = keras.utils.to_categorical(testY, 10)
heldY = keras.utils.to_categorical(heldY, 10)
held_out = (heldX, heldY) if args.hold_out else None
clothes = "top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot"
labelNames = clothes.split(", ") if dataset == "fashion-mnist" else [*"0123456789"]
print(f"[INFO] training MiniVGGNet on {len(trainX)} images of {dataset}...")
measure = [MeasureReasons((testX, testY), held_out, BS)] if args.reasons else []
callbacks = [keras.callbacks.ProgbarLogger(), *measure, *saving]
schedule = keras.optimizers.schedules.InverseTimeDecay(INIT_LR, 1, INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(schedule, momentum=0.9)  # Keras 2: decay=INIT_LR / EPOCHS
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
train = datasets.batches(trainX, trainY, BS, seed=args.seed)  # shuffles itself
test = datasets.batches(testX, testY, BS)
how = {"shuffle": False, "verbose": terminal.show_progress(keras)}
H = model.fit(train, validation_data=test, epochs=EPOCHS, callbacks=callbacks, **how)
terminal.stop_if_not_finite(H.history["loss"], table)

# On the validation images: of those called a bag, how many are one (precision), and how
# many of the bags are called so (recall)?
print(f"[INFO] evaluating on {len(testX)} images of {dataset}...")
predictions, truth = model.predict(test, verbose=0).argmax(axis=1), testY.argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

print(f"[INFO] saving the history to {args.history}...")
terminal.keep_earlier(args.history)  # what was there stays, as HISTORY.old
with open(args.history, "wb") as file:
    pickle.dump(H.history, file)
print(f"[INFO] to draw it: {terminal.draw_command(args.history)}")

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 8)
