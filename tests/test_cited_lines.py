"""The tutorial cites lines of the two scripts by number; here is what they must hold."""

import ast

from conftest import ROOT

CITED = """
fashion_mnist.py 2 8 import pickle, datasets, MiniVGGNet, classification_report
fashion_mnist.py 11 14 ArgumentParser(, "-i", "--history"
fashion_mnist.py 15 24 EPOCHS, INIT_LR, BS = args.epochs, args.lr, args.batch_size
fashion_mnist.py 25 34 datasets.load(, trainX[..., None], astype("float32") / 255
fashion_mnist.py 37 38 trainY = keras.utils.to_cat, testY = keras.utils.to_cat
fashion_mnist.py 41 42 "top, trouser, ankle boot", labelNames = clothes
fashion_mnist.py 46 49 SGD(, MiniVGGNet.build(, model.compile(
fashion_mnist.py 53 55 H = model.fit(
fashion_mnist.py 59 62 model.predict(, classification_report(
fashion_mnist.py 66 68 open(args.history, "wb"), pickle.dump(H.history, file)
plot_shift.py 2 5 matplotlib, numpy, argparse, histories
plot_shift.py 8 11 ArgumentParser(, "-i", "--input"
plot_shift.py 14 14 H = histories.load_history(args.input
plot_shift.py 18 18 epochs = np.arange(
plot_shift.py 19 20 plt.subplots(
plot_shift.py 21 29 top.plot(epochs, training, top.plot(epochs, validation
plot_shift.py 32 32 shifted.plot(epochs - 0.5, training
"""


def test_cited_lines_hold():
    for cited in CITED.strip().splitlines():
        script, first, last, words = cited.split(" ", 3)
        lines = (ROOT / script).read_text().splitlines()[int(first) - 1 : int(last)]
        code = "\n".join(lines)
        ast.parse(code)  # a SyntaxError says that a statement is cut
        for word in words.split(", "):
            assert word in code, cited
