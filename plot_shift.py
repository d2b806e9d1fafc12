# Draw the curves of a training history as they are, and shifted by half an epoch.
import argparse
from pyimagesearch import cli, figures, gap, safe_pickle
import matplotlib.pyplot as plt
import numpy as np

# The flags. All have a default.
ap = argparse.ArgumentParser(description="Draw the curves, also half an epoch shifted.")
ap.add_argument("-i", "--input", default="training.pickle", help="the training history")
ap.add_argument("-o", "--output", help="a .png, .pdf or .svg instead of a window")
ap.add_argument("--metric", default="loss", help="or accuracy, say (loss)")
args = ap.parse_args()
cli.begin()
H = safe_pickle.load_history(args.input, args.metric)
training, validation = H[args.metric], H[f"val_{args.metric}"]
figures.choose_backend(args.output, args.input)  # a window, or a file only

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
    # Panels that share their axes hide the upper numbers. Epochs are whole numbers.
    panel.tick_params(labelbottom=True)
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    plt.setp(panel.get_lines(), markevery=1 + len(epochs) // 50)  # at most 50 markers
    panel.legend()
figure.subplots_adjust(0.09, 0.08, 0.98, 0.95, hspace=0.36)

print(f"[INFO] {gap.closer(training, validation)}")

# After a run with --reasons: how much of the gap each of the three reasons makes.
if "loss_at_end" in H:
    terms = gap.split(H)
    figures.draw_terms(figure, terms)
    print("[INFO] what makes the gap (epoch 0 is what the training called epoch 1):")
    print(gap.table(terms))
    print(f"[INFO] {gap.conclusion(H)}")

figures.show_or_save(figure, args.output, args.input, args.metric)

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 5)
