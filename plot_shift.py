# Draw the curves of a training history as they are, and shifted by half an epoch.
import argparse  # noqa: I001, the tutorial cites the imports as lines 2 to 5
from pyimagesearch import gap, history, figures, shift
import matplotlib.pyplot as plt
import numpy as np

# The flags. SUPPRESS: a mistake among them is answered in one line.
ap = argparse.ArgumentParser(description="Draw the curves", usage=argparse.SUPPRESS)
ap.add_argument("-i", "--input", default="training.pickle", help="the training history")
ap.add_argument("-o", "--output", help="a .png, .pdf or .svg instead of a window")
ap.add_argument("--metric", default="loss", help="such as accuracy, default: loss")
args = ap.parse_args()

H = history.load_history(args.input, args.metric)
training, validation = H[args.metric], H[f"val_{args.metric}"]
figures.choose_backend(args.output)  # a window, or a file only

epochs = np.arange(len(training))
plt.style.use("ggplot")
figure, (top, bottom) = plt.subplots(2, 1, sharex=True, sharey=True, figsize=(8, 6.5))

# Top: each value at the epoch that Keras reports it for.
top.plot(epochs, training, "o-", label=f"training {args.metric}")
top.plot(epochs, validation, "s--", label=f"validation {args.metric}")
top.set_title(f"Unshifted {args.metric.capitalize()} Plot")

# Bottom: each value at the time that it stands for. The validation loss is measured
# once, at the end of an epoch. The training loss is a running mean over the epoch, in
# which the model gets better and better: it stands for the model in the middle of the
# epoch. So it belongs half an epoch further left, which is the heart of this script
# and of the tutorial.
bottom.plot(epochs - 0.5, training, "o-", label=f"training {args.metric}")
bottom.plot(epochs, validation, "s--", label=f"validation {args.metric}")
bottom.set_title(f"Shifted {args.metric.capitalize()} Plot")

for panel in (top, bottom):
    panel.set(xlabel="Epoch #", ylabel=args.metric.capitalize())
    # Panels that share their axes hide the upper numbers; and no half epochs on the axis.
    panel.tick_params(labelbottom=True)
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    panel.legend()
figure.subplots_adjust(0.09, 0.08, 0.98, 0.95, hspace=0.36)

unshifted, shifted, count = shift.mean_distances(training, validation)
if count == 0:
    print("[INFO] how far apart the curves lie takes two epochs in a row to measure")
else:
    print(
        f"[INFO] mean |training {args.metric} - validation {args.metric}|: "
        f"{unshifted:.4g} unshifted, {shifted:.4g} shifted (epochs compared: {count})"
    )

# After a run with --reasons: how much of the gap each of the three reasons makes.
if "loss_at_end" in H:
    terms = gap.split(H)
    gap.draw(figure, terms)
    print(
        "[INFO] what makes the gap (by shift: timing as the half-epoch shift has it):"
    )
    print(gap.table(terms))
    print(f"[INFO] {gap.conclusion(H)}")

figures.show_or_save(figure, args.output, args.input)
