# Draw the curves of a training history as they are, and shifted by half an epoch.
import argparse
from pyimagesearch import terminal, gap, histories  # histories loads the pickle
import matplotlib.pyplot as plt
import numpy as np

plt.style.use("ggplot")
ap = argparse.ArgumentParser(description="Draw loss curves as they are, and shifted.")
ap.add_argument("-i", "--input", default="training.pickle", help="pickle, JSON or CSV")
ap.add_argument("-o", "--output", help=".png, .pdf or .svg file to save the figure in")
ap.add_argument("--metric", default="loss", help="metric to draw, such as accuracy")
args = ap.parse_args()

H = histories.load_history(args.input)
training, validation = histories.choose_curves(H, args.metric, args.input)
terms = gap.split(H, args.metric)  # what makes the gap, if it was measured

epochs = np.arange(len(training))
rows = 3 if terms else 2
figure, panels = plt.subplots(rows, 1, sharex=True, figsize=(8, 8), layout="tight")
top, shifted = panels[:2]
shifted.sharey(top)

# The upper panel shows each value at the epoch for which it is reported.
top.plot(epochs, training, "o-", label=f"training {args.metric}")
top.plot(epochs, validation, "s--", label=f"validation {args.metric}")
top.set_title(f"Unshifted {args.metric}")

# The panel below it shows each value at its time. The validation loss is taken at the
# end of an epoch. The training loss is a mean over the epoch, so its time is half an
# epoch earlier. This line is the heart of the script, and of the tutorial.
shifted.plot(epochs - 0.5, training, "o-", label=f"training {args.metric}")
shifted.plot(epochs, validation, "s--", label=f"validation {args.metric}")
shifted.set_title(f"Shifted {args.metric}")
if terms:
    # This is the validation loss in training mode, averaged over the epoch.
    during = validation + terms["regularization"] + terms["timing"]
    label = f"validation {args.metric}, measured like the training {args.metric}"
    shifted.plot(epochs - 0.5, during, "^:", color="C1", fillstyle="none", label=label)
    gap.draw(panels[2], terms, args.metric)

for panel in (top, shifted):
    panel.set_ylabel(args.metric)
    panel.legend(fontsize="small")
for panel in panels:
    panel.set_xlabel("Epoch #")
    panel.tick_params(labelbottom=True)  # a shared axis would hide these labels
    # There are ticks at whole epochs only, and 50 markers at most.
    panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    plt.setp(panel.get_lines(), markevery=1 + (len(epochs) - 1) // 50)

output = args.output
if output is None and plt.get_backend().lower() == "agg":  # no window can open
    output = f"{args.input}.{args.metric.replace('/', '-')}.png"
if output is not None:
    if not output.lower().endswith((".png", ".pdf", ".svg")):
        raise terminal.UserError(f"--output {output} must end in .png, .pdf or .svg")
    figure.savefig(output)
    print(f"[INFO] the figure is in {output}")
print(f"[INFO] {gap.describe_shift(training, validation)}")
if terms:
    print(f"[INFO] {gap.table(terms, args.metric)}")
else:
    print("[INFO] what makes this gap was not measured: README.md says how to do it")
if output is None:
    plt.show()

# ruff: noqa: I001 (the tutorial cites the imports as lines 2 to 5)
