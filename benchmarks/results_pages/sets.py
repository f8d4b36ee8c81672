"""The data sets in words, in the order of the pages. The numbers of a page come from the committed results."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """A data set of one page.

    Args:
        title: heading and name in the menu.
        label: what is predicted, and its unit.
        about: what the data is, in one to three sentences.
        files: result files in benchmarks/results with the metric of their table, each with a heading.
        settle: name in ``benchmarks.settle.plan.DATA``; "" for none.
        notes: what a reader of the tables must know.
        links: pages on the same data.
        tuned: whether the settings of the first table were chosen on validation.
    """

    title: str
    label: str
    about: str
    files: tuple[tuple[str, str, str], ...] = ()
    settle: str = ""
    notes: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    tuned: bool = True


_METHODS = "All methods, one setting each"

SETS = {
    "abalone": DataSet(
        "Abalone",
        "age (rings)",
        "Shells are measured to tell the age of the animals (UCI; 4,177 rows). Old animals are rare. Every seed "
        "draws another split, so `±` holds the variation between splits. The paired differences do not.",
        (("abalone-Rings", "mae", _METHODS),),
        "abalone",
        links=(
            "[Slide between frequent and rare labels](../tradeoff.md)",
            "[When feature smoothing helps](../fds.md#abalone)",
            "[Average runs](../ensembles.md)",
            "[Find mislabelled rows](../audit.md)",
        ),
    ),
    "concrete": DataSet(
        "Concrete",
        "strength (MPa)",
        "Mixtures of concrete and their strength (UCI; 1,030 rows, 1,005 distinct). Fifty bins of strength. Half "
        "of the test rows are few-shot and none are many-shot. Every seed draws another split.",
        (("concrete-ConcreteCompressiveStrength", "mae", _METHODS),),
        "concrete",
        links=(
            "[When feature smoothing helps](../fds.md#concrete)",
            "[Average runs](../ensembles.md)",
            "[scikit-learn](../sklearn.md)",
        ),
    ),
    "sulfur_y1": DataSet(
        "Sulfur recovery",
        "H2S in the gas",
        "Sensors of a sulfur recovery unit (Fortuna et al. 2007, OpenML 23515; 10,081 rows). The peaks are the "
        "point.",
        settle="sulfur_y1",
        notes=(
            "The rows follow time, and the plan draws its splits at random, so that neighbours in time stand on both "
            "sides. The errors are those between known rows, and too low for future rows.",
        ),
        links=("[Data sets to try](../data_sets.md#plain-tables)",),
    ),
    "stsb_minilm": DataSet(
        "STS-B-DIR",
        "similarity, 0 to 5",
        "Real sentence pairs, encoded by a frozen all-MiniLM-L6-v2 (two layers, mean and maximum pooling). An MLP "
        "takes `[u, v, |u - v|, u * v]` and the cosines, and training swaps the two sentences at random.",
        (
            ("stsb_minilm", "mse", _METHODS),
            ("stsb_minilm_finetune", "mse", "The encoder is trained as well"),
        ),
        "stsb_minilm",
        notes=(
            "The published result for LDS + FDS with GloVe and a BiLSTM is MSE 0.907 and Pearson 0.760. It uses "
            "another encoder, so do not compare methods across the two.",
            "The run that trains the encoder has 3 epochs, in 20 minutes on one core. Its correlation is higher than "
            "with the frozen encoder and its error is larger; three epochs are few.",
        ),
        links=("[Recipes](../recipes.md)",),
    ),
    "complex_single": DataSet(
        "Complex words",
        "complexity, 0 to 1",
        "How complex readers find a word in its sentence: 9,000 words from the Bible, biomedical articles and the "
        "European Parliament (Shardlow et al. 2020; SemEval 2021 task 1). Complex words are rare. The two texts "
        "are an ordered pair.",
        settle="complex_single",
        notes=("The test split has 16 few-shot rows: their errors are uncertain.",),
        links=("[Data sets to try](../data_sets.md#complex_single-a-word-in-its-sentence)",),
    ),
    "blood_cells": DataSet(
        "Blood cells",
        "red cells",
        "364 pictures of blood smears (BCCD), 205 of them for training. The label is the number of red cells, from "
        "0 to 27, with few samples at both ends.",
        (("bccd_counts-rbc", "mae", _METHODS),),
        "blood_cells",
        links=("[When feature smoothing helps](../fds.md#blood-cells)",),
    ),
    "bicycles": DataSet(
        "Bicycle rentals",
        "rentals an hour",
        "17,379 hours with weather and calendar (UCI). `data.drop` removes the two columns that add up to the "
        "target, and those that name the row.",
        (
            ("bike_sharing_hour-cnt", "mae", _METHODS),
            ("bike_sharing_hour-casual+registered", "mae", "Two targets: casual and registered riders"),
            ("bicycle_costs", "cost", "Under a cost: a missing bicycle costs five times one too many"),
        ),
        "bicycles",
        links=(
            "[When feature smoothing helps](../fds.md#hourly-bicycle-rentals)",
            "[Decide under your own cost](../costs.md#worked-example-bicycles)",
        ),
    ),
    "california_housing": DataSet(
        "California housing",
        "median value",
        "The 1990 census by block (Pace and Barry 1997; 20,640 rows). The label is capped at 500,001.",
        settle="california_housing",
        links=("[Data sets to try](../data_sets.md#plain-tables)",),
    ),
    "house_16h": DataSet(
        "House 16H",
        "median price",
        "The 1990 US census by region (DELVE; 22,784 rows). A long right tail with few rows in it.",
        settle="house_16h",
        links=("[Data sets to try](../data_sets.md#plain-tables)",),
    ),
    "nuclei_patches": DataSet(
        "Nuclei in windows",
        "nuclei",
        "3,286 windows of 664 microscopy pictures (Data Science Bowl 2018, BBBC038), grey, 48 x 48. A nucleus at the "
        "border counts by the share of its mask inside.",
        settle="nuclei_patches",
        links=("[Data sets to try](../data_sets.md#nuclei_patches-nuclei-in-microscopy-windows)",),
    ),
    "digits": DataSet(
        "Rotated digits",
        "angle (degrees)",
        "Real images (MNIST, 6,000 for training), rotated by 0 to 90 degrees with a long-tailed distribution. The "
        "validation and test splits are uniform over the angles, so ten of the 91 angles have no training sample "
        "(zero-shot). A small CNN trains for 25 epochs.",
        (("rotmnist_skew-angle", "mae", _METHODS),),
        "digits",
        notes=(
            "The npz file is not part of the repository; any npz with images, labels and splits works in the same "
            "way.",
        ),
        links=(
            "[Slide between frequent and rare labels](../tradeoff.md)",
            "[When feature smoothing helps](../fds.md#rotated-digits)",
            "[Find mislabelled rows](../audit.md)",
        ),
    ),
    "gb1": DataSet(
        "Variants of a protein",
        "fitness",
        "149,361 variants of protein GB1 at four positions (Wu et al. 2016; FLIP). 94 % of the variants lie in the "
        "lowest of 50 bins, and the rare ones are those that the experiment looks for.",
        settle="gb1",
        links=("[Data sets to try](../data_sets.md#gb1_four_sites-variants-of-a-protein)",),
    ),
    "beijing_pm25": DataSet(
        "Air in Beijing",
        "PM2.5 in an hour",
        "Hourly pollution and weather from 2010 to 2014 (UCI). A sample is a window of 24 hours, and the split is "
        "by year.",
        settle="beijing_pm25",
        links=("[Data sets to try](../data_sets.md#beijing_pm25-hourly-air-pollution)",),
    ),
    "faces": DataSet(
        "Drawn faces",
        "age (years)",
        "The images are generated, with AgeDB-DIR's histogram of ages.",
        (("age_synthetic", "mae", _METHODS),),
        "faces",
        notes=(
            "This data set checks that the package works. It says nothing about photographs.",
            "The settings of the methods with one seed were not tuned on this data.",
        ),
        links=("[When feature smoothing helps](../fds.md#drawn-faces)", "[Find mislabelled rows](../audit.md)"),
    ),
    "nuclei_distance": DataSet(
        "Maps of nuclei",
        "distance (pixels)",
        "Grey pictures of 64 x 64 (Data Science Bowl 2018, BBBC038), with a label for each pixel: its distance to "
        "the border of its nucleus. 84 % of the pixels are 0.",
        (("nuclei_distance-distance4", "mae", _METHODS),),
        notes=("The training is too short for more than a look, and nothing was tuned.",),
        links=("[A label for each pixel](../dense.md#two-data-sets)",),
        tuned=False,
    ),
    "fmi_nowcast": DataSet(
        "Maps of rain",
        "rain (mm/h)",
        "Three radar frames of 48 x 48 at 2 km (10, 5 and 0 minutes old), with the rain 30 minutes later as a "
        "label for each pixel. Training is one day, validation and test are the two halves of another day.",
        (("fmi_nowcast-target", "mae", _METHODS),),
        notes=("The training is too short for more than a look, and nothing was tuned.",),
        links=("[A label for each pixel, and persistence](../dense.md#two-data-sets)",),
        tuned=False,
    ),
}
