"""The pictures of the batch-norm study by name, each with the function that draws it from the runs.

    FIGURES["01_training"](read_runs(folder))  # a figure; its caption: the function's docstring
"""

from collections.abc import Callable

from VGG_BatchNorm import draw_own, draw_paper

FIGURES: dict[str, Callable] = {
    "01_training": draw_paper.draw_training,
    "02_learning_rate_envelope": draw_paper.draw_envelope,
    "03_loss_landscape": draw_paper.draw_three_panels,
    "04_internal_covariate_shift": draw_paper.draw_covariate_shift,
    "05_rescues": draw_paper.draw_rescues,
    "06_activations": draw_paper.draw_activations,
    "07_edge_of_stability": draw_own.draw_edge,
    "08_rescaled_filters": draw_own.draw_scaling,
    "09_first_steps": draw_own.draw_start,
    "10_gradient_map": draw_own.draw_map,
    "11_heads": draw_own.draw_heads,
    "12_noise": draw_own.draw_noise,
    "13_kinks": draw_own.draw_kinks,
    "14_theorem_4_1": draw_own.draw_theorem,
}
