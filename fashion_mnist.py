# Train MiniVGGNet on Fashion MNIST, and save the training history as a pickle file.
import argparse
import math
import pickle
import sys
from pyimagesearch import terminal, datasets  # terminal first: it explains errors
from sklearn.metrics import classification_report
from pyimagesearch.minivggnet import MiniVGGNet

# This is the tutorial's one flag. `parse_training_flags` adds ours.
ap = argparse.ArgumentParser(description="Train MiniVGGNet and save its loss curves.")
ap.add_argument(
    "-i", "--history", default="training.pickle", help="file to save the history in"
)
args = terminal.parse_training_flags(ap)
EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
# Keras takes seconds to start, so it is started only when the flags are right.
keras = terminal.start_keras()
from pyimagesearch.reasons import MeasureReasons

keras.utils.set_random_seed(args.seed)  # first weights, dropout, order of the images
callbacks = [keras.callbacks.ProgbarLogger(), keras.callbacks.TerminateOnNaN()]

print("[INFO] loading the images...")
dataset, (trainX, trainY), (testX, testY) = datasets.load(args.dataset)
leaks = datasets.count_leaks(trainX, testX)
print(f"[INFO] test images that are also training images: {leaks} of {len(testX)}")
(trainX, trainY), (heldX, heldY) = datasets.hold_out(
    trainX, trainY, args.hold_out, args.seed, datasets.COPIES[dataset]
)
# Convolutions need a channel axis, and networks learn better from values from 0 to 1.
trainX = trainX[..., None].astype("float32") / 255
testX = testX[..., None].astype("float32") / 255
heldX = heldX[..., None].astype("float32") / 255
truth = testY  # the labels as numbers, for the report
table = terminal.prepare_history(args.history)  # gets a row when an epoch ends
trainY = keras.utils.to_categorical(trainY, 10)  # 3 becomes [0, 0, 0, 1, 0, 0, ...]
testY = keras.utils.to_categorical(testY, 10)
heldY = keras.utils.to_categorical(heldY, 10)
held_out = (heldX, heldY) if args.hold_out else None
clothes = "top, trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot"
labelNames = clothes.split(", ") if dataset == "fashion-mnist" else [*"0123456789"]
print(f"[INFO] training MiniVGGNet on {len(trainX)} images of {dataset}...")
measure = [MeasureReasons((testX, testY), held_out, BS)] if args.reasons else []
callbacks += [*measure, keras.callbacks.CSVLogger(table)]
schedule = keras.optimizers.schedules.InverseTimeDecay(INIT_LR, 1, INIT_LR / EPOCHS)
opt = keras.optimizers.SGD(schedule, momentum=0.9)  # Keras 2: decay=INIT_LR / EPOCHS
model = MiniVGGNet.build(28, 28, 1, 10, dropout=not args.no_dropout)
model.compile(optimizer=opt, loss="categorical_crossentropy", metrics=["accuracy"])
train = datasets.batches(trainX, trainY, BS, seed=args.seed)  # shuffled in each epoch
test = datasets.batches(testX, testY, BS)
options = {"shuffle": False, "verbose": 1 if sys.stdout.isatty() else 2}
H = model.fit(
    train, validation_data=test, epochs=EPOCHS, callbacks=callbacks, **options
)
if not math.isfinite(H.history["loss"][-1]):
    raise terminal.UserError(f"the loss is not finite: try a lower --lr than {INIT_LR}")
print(f"[INFO] evaluating on {len(testX)} images of {dataset}...")
predictions = model.predict(test, verbose=0).argmax(axis=1)
print(
    classification_report(truth, predictions, target_names=labelNames, zero_division=0)
)

print(f"[INFO] saving the history to {args.history}...")

with open(args.history, "wb") as file:
    pickle.dump(H.history, file)

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 8)
