"""What was measured of trained networks, as pictures and the report name it."""

import json

import numpy as np

from VGG_BatchNorm.ground.classes import CLASSES
from VGG_BatchNorm.ground.statistics import expected_calibration_error

VIEWS = ("one view", "six views")
TOLERANCE = 0.05  # an eigenvalue λ of the Hessian H is found where ‖Hv − λv‖ is at most this · |λ|


def mistakes_for_report(data: dict) -> dict:
    """Return what codes/insight/mistakes.py measured for mistakes.json, in fractions and counts."""
    matrix, images = data["confusion"], data["confusion"].sum(1)
    pairs = sorted(((int(matrix[true, said]), true, said)
                    for true, said in np.ndindex(*matrix.shape) if true != said), reverse=True)
    by_class = zip(CLASSES, matrix.diagonal() / images, data["look_alikes"], strict=True)
    return {**data["about"], "images": int(images.sum()),
            "error": float(1 - matrix.trace() / images.sum()),
            "calibration_error": {name: expected_calibration_error(table)
                                  for name, table in zip(VIEWS, data["reliability"], strict=True)},
            "most_frequent_mistakes": [{"true": CLASSES[true], "said": CLASSES[said],
                                        "images": count}
                                       for count, true, said in pairs[:6]],
            "by_class": {name: {"accuracy": float(accuracy), "look_alikes": int(count)}
                         for name, accuracy, count in by_class},
            "most_confident_mistakes": data["numbers"].tolist()}


def robustness_for_report(data: dict) -> dict:
    """Return the accuracies of codes/insight/robustness.py by name, for robustness.json."""
    about = dict(data["about"])
    settings = about.pop("settings")
    attacks = zip(("FGSM", f"PGD-{settings['steps']}"), data["attacks"].tolist(), strict=True)
    return {"about": about | {"images": settings["images"]}, "clean": data["clean"].item(),
            "corruptions": dict(zip(settings["corruptions"], data["corruptions"].tolist(),
                                    strict=True)),
            "attacked_images": settings["attacked"], "epsilons": settings["epsilons"],
            "attacks": dict(attacks), **json.loads(str(data["environment"]))}


def eigenvalue_in_words(plane: dict) -> str:
    """Return that of the Hessian at a plane's centre; "at least" where its search was cut short."""
    value = float(plane["eigenvalue"])
    return ("at least " if plane["residual"] > TOLERANCE * abs(value) else "") + f"{value:.3g}"
