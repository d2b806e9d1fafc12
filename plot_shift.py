# Draw the curves of a training history as they are, and shifted by half an epoch.
import argparse
from pyimagesearch import terminal, gap, histories  # histories replaces pickle
import matplotlib.pyplot as plt
import numpy as np

plt.style.use("ggplot")
ap = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
ap.add_argument("-i", "--input", default="training.pickle", help="pickle, JSON or CSV")
ap.add_argument("-o", "--output", default="window", help="or a .png, .pdf, .svg file")
ap.add_argument("--metric", default="loss", help="metric to draw, accuracy for example")
ap.epilog = "example: python %(prog)s --input tests/real_run.pickle --metric accuracy"
args = ap.parse_args()
H = histories.load_history(args.input)
training, validation, labels = histories.choose_curves(H, args.metric, args.input)
measured = histories.measured_numbers(H, args.metric, args.input)
terminal.prepare_output(args.output)
epochs = np.arange(len(training))
rows = 3 if measured else 2  # the third shows what makes the gap, if it was measured
figure, panels = plt.subplots(rows, 1, sharex=True, figsize=(8, 8), layout="tight")
top, shifted = panels[:2]
shifted.sharey(top)

# Above: each value at the epoch that it is reported for.
top.plot(epochs, training, "o-", label=labels[0])
top.plot(epochs, validation, "s--", label=labels[1])
top.set_title(f"Unshifted {args.metric}")

# Below it: each value at the time that it stands for. The validation loss is taken
# once, at the end of an epoch. The training loss is a mean over the epoch, so it stands
# for the network half an epoch earlier: the heart of this script, and of the tutorial.
shifted.plot(epochs - 0.5, training, "o-", label=labels[0])
shifted.plot(epochs, validation, "s--", label=labels[1])
shifted.set_title(f"Shifted {args.metric}")
print(f"[INFO] {gap.describe_shift(training, validation)}")

if measured:
    # The validation images, measured the way the training images are.
    during = measured[f"val_{args.metric}_during"]
    label = f"{labels[1]}, measured the way the training {args.metric} is"
    shifted.plot(epochs - 0.5, during, "^:", color="C1", fillstyle="none", label=label)
    terms = gap.split(measured, args.metric)
    gap.draw(panels[2], terms, args.metric)
    print(
        "[INFO] the gap, and what adds up to it (epoch 0 is the first; - is unknown):"
    )
    print(gap.table(terms))
    print(f"[INFO] {gap.describe(terms, args.metric)}")
else:
    how = "fashion_mnist.py --reasons, or README.md, Measure your own training"
    print(f"[INFO] to measure what makes the gap: {how}")

for panel in (top, shifted):
    panel.set_ylabel(args.metric)
    panel.legend(fontsize="small")
for panel in panels:
    panel.set_xlabel("Epoch #")
    panel.tick_params(labelbottom=True)  # the upper panels', too
    # Ticks at whole epochs, and at most 50 markers.
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    plt.setp(panel.get_lines(), markevery=1 + (len(epochs) - 1) // 50)
terminal.show_or_save(figure, args.output, args.input, args.metric)

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 5)
