"""The tutorial cites lines of the two scripts by number; here is what they must hold."""

import ast

import pytest
from conftest import ROOT

TRAIN, PLOT = "fashion_mnist.py", "plot_shift.py"


@pytest.mark.parametrize(
    ("script", "first", "last", "words"),
    [
        (
            TRAIN,
            2,
            8,
            ["import MiniVGGNet", "datasets", "SaveHistory", "classification_r"],
        ),
        (TRAIN, 11, 14, ["ArgumentParser(", '"-i", "--history"']),
        (
            TRAIN,
            15,
            24,
            ["EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size"],
        ),
        (
            TRAIN,
            25,
            34,
            ["datasets.load(", "trainX[..., None]", 'astype("float32") / 255'],
        ),
        (TRAIN, 37, 38, ["trainY = keras.utils.to_cat", "testY = keras.utils.to_cat"]),
        (TRAIN, 41, 42, ['"top", "trouser"', '"ankle boot"']),
        (TRAIN, 46, 49, ["SGD(", "MiniVGGNet.build(", "model.compile("]),
        (TRAIN, 53, 55, ["H = model.fit("]),
        (TRAIN, 59, 62, ["model.predict(", "classification_report("]),
        (TRAIN, 66, 68, ["save_history.complete(H.history)"]),
        (PLOT, 2, 5, ["matplotlib", "numpy", "argparse", "reading"]),
        (PLOT, 8, 11, ["ArgumentParser(", '"-i", "--input"']),
        (PLOT, 14, 14, ["reading.load_history(args.input"]),
        (PLOT, 18, 18, ["epochs = np.arange("]),
        (PLOT, 19, 20, ["plt.subplots(2, 1"]),
        (PLOT, 21, 29, ["top.plot(epochs, training", "top.plot(epochs, validation"]),
        (PLOT, 32, 32, ["bottom.plot(epochs - 0.5, training"]),
    ],
)
def test_cited_lines_hold(script, first, last, words):
    source = (ROOT / script).read_text()
    within = [
        ast.get_source_segment(source, statement)
        for statement in ast.parse(source).body
        if first <= statement.lineno and statement.end_lineno <= last
    ]
    for word in words:
        assert word in "\n".join(within)
