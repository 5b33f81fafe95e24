"""Runs of presets, published nets, the net by hand: columns of their CSV files; minutes, errors."""

PRESET_RUN = {"preset": str, "seed": int, "images": int, "parameters": int, "flops": int,
              "precision": str, "seconds": float, "cpu_seconds": float, "peak_memory_bytes": int,
              "test_accuracy": float, "test_accuracy_views": float, "device": str, "threads": int,
              "torch": str, "commit": str}  # columns of runs.csv, in order
PUBLISHED = {"parameters": int, "flops": int, "test_accuracy": float, "epochs": float,
             "views": int, "runs": int}  # of published.csv
SCRATCH_RUN = {"seed": int, "test_accuracy": float, "images": int, "epochs": int,
               "batch_size": int, "lr": float, "seconds": float, "parameters": int,
               "threads": int}  # of from_scratch.csv


def by_preset(rows: list[dict]) -> dict[str, list[dict]]:
    """Return the rows of each preset, in the order of their first."""
    return {preset: [row for row in rows if row["preset"] == preset]
            for preset in dict.fromkeys(row["preset"] for row in rows)}


def on_a_gpu(row: dict) -> bool:
    """Return whether a run's device is a GPU: ", " and an instruction set end the name of a CPU."""
    return ", " not in row["device"]


def on_cpus(rows: list[dict]) -> list[dict]:
    """Return the runs that were made on a CPU; all, where none was."""
    return [row for row in rows if not on_a_gpu(row)] or rows


def minutes(rows: list[dict]) -> list[float]:
    """Return the minutes of the runs on CPUs: CPU time over threads, as the clock would show if
    nothing else ran. Where all ran on GPUs, theirs by the clock."""
    return [(row["seconds"] if on_a_gpu(row) else row["cpu_seconds"] / row["threads"]) / 60
            for row in on_cpus(rows)]


def by_the_clock(rows: list[dict]) -> str:
    """Return "24 to 44", the minutes from start to end, whatever else ran on the machine; of the
    runs on CPUs, where there are any."""
    shortest, longest = (f"{end(row['seconds'] for row in on_cpus(rows)) / 60:.0f}"
                         for end in (min, max))
    return shortest if shortest == longest else f"{shortest} to {longest}"


def errors_in_percent(rows: list[dict]) -> tuple[list[float], list[float]]:
    """Return test errors in percent with one view and with six, a number a run."""
    one, six = ([100 * (1 - row[name]) for row in rows]
                for name in ("test_accuracy", "test_accuracy_views"))
    return one, six
