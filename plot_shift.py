# Draw the curves of a training history as they are, and shifted by half an epoch.
import argparse
from pyimagesearch import figures, cli, curves, gap, reading  # checks for matplotlib
import matplotlib.pyplot as plt
import numpy as np

cli.set_up_output()
ap = argparse.ArgumentParser(formatter_class=argparse.ArgumentDefaultsHelpFormatter)
ap.add_argument("-i", "--input", default="training.pickle", help=reading.INPUT)
ap.add_argument("-o", "--output", default="window", help=figures.OUTPUT)
ap.add_argument("--metric", default="loss", help="metric to draw, accuracy for example")
ap.epilog = "example: python %(prog)s --input tests/real_run.pickle --metric accuracy"
args = ap.parse_args()
H = reading.load_history(args.input)
pair = curves.choose_curves(H, args.metric, args.input)
(training_label, training), (validation_label, validation) = pair.items()
figures.prepare_output(args.output, args.input)
epochs = np.arange(len(training))
plt.style.use("ggplot")
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(8, 6.5))

# Top: each value at the epoch that it is reported for.
top.plot(epochs, training, "o-", label=training_label)
top.plot(epochs, validation, "s--", label=validation_label)
top.set_title(f"Unshifted {args.metric.capitalize()} Plot")

# Bottom: each value at the time that it stands for. The validation loss is taken once,
# at the end of an epoch. The training loss is a running mean over the epoch, in which
# the network gets better and better: it stands, roughly, for the network in the middle
# of the epoch. So it belongs half an epoch further left: the heart of this script, and
# of the tutorial.
bottom.plot(epochs - 0.5, training, "o-", label=training_label)
bottom.plot(epochs, validation, "s--", label=validation_label)
bottom.set_title(f"Shifted {args.metric.capitalize()} Plot")

step = 1 + (len(epochs) - 1) // 50  # at most 50 markers
for panel in (top, bottom):
    panel.set(xlabel="Epoch #", ylabel=args.metric.capitalize())
    panel.tick_params(labelbottom=True)  # the upper panel's, too
    # Ticks at whole epochs.
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    plt.setp(panel.get_lines(), markevery=step)
    panel.legend()
figure.subplots_adjust(0.09, 0.08, 0.98, 0.95, hspace=0.36)

print(f"[INFO] {gap.describe_shift(training, validation)}")

# What makes the gap, if the run measured it.
measured = curves.measured_losses(H, args.input) if args.metric == "loss" else {}
if measured:
    terms = gap.split(measured)
    figures.draw_terms(figure, terms)
    print(
        "[INFO] the gap, and what adds up to it (epoch 0 is the first; - is unknown):"
    )
    print(gap.table(terms))
    print(f"[INFO] {gap.describe(terms)}")
elif "loss_at_end" in H and args.metric != "loss":
    print("[INFO] what makes the gap was measured of the loss: omit --metric")
else:
    how = "fashion_mnist.py --reasons, or README.md, Measure your own training"
    print(f"[INFO] to measure what makes the gap: {how}")

figures.show_or_save(figure, args.output, args.input, args.metric)

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 5)
