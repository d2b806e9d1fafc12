"""The tutorial cites lines of the two scripts by number; here is what they must hold."""

import ast

import pytest
from conftest import ROOT


def held(script, first, last):
    """Return the source of the statements that lie within lines `first` to `last`."""
    source = (ROOT / script).read_text()
    return "\n".join(
        ast.get_source_segment(source, statement)
        for statement in ast.parse(source).body
        if first <= statement.lineno and statement.end_lineno <= last
    )


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (
            (2, 8),
            ["import MiniVGGNet", "datasets", "SaveHistory", "classification_report"],
        ),
        ((11, 14), ["ArgumentParser(", '"-i", "--history"']),
        ((15, 24), ["EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size"]),
        ((25, 34), ["datasets.load(", "trainX[..., None]", 'astype("float32") / 255']),
        ((37, 38), ["trainY = keras.utils.to_cat", "testY = keras.utils.to_cat"]),
        ((41, 42), ['"top", "trouser"', '"ankle boot"']),
        ((46, 49), ["SGD(", "MiniVGGNet.build(", "model.compile("]),
        ((53, 55), ["H = model.fit("]),
        ((59, 62), ["model.predict(", "classification_report("]),
        ((66, 68), ["save_history.complete(H.history)"]),
    ],
)
def test_fashion_mnist(lines, words):
    for word in words:
        assert word in held("fashion_mnist.py", *lines)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ((2, 5), ["matplotlib", "numpy", "argparse", "reading"]),
        ((8, 11), ["ArgumentParser(", '"-i", "--input"']),
        ((14, 14), ["reading.load_history(args.input"]),
        ((18, 18), ["epochs = np.arange("]),
        ((19, 20), ["plt.subplots(2, 1"]),
        ((21, 29), ["top.plot(epochs, training", "top.plot(epochs, validation"]),
        ((32, 32), ["bottom.plot(epochs - 0.5, training"]),
    ],
)
def test_plot_shift(lines, words):
    for word in words:
        assert word in held("plot_shift.py", *lines)
