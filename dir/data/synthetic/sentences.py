"""Sentence pairs of a known similarity, written by a small grammar: no text is read from anywhere.

A sentence states who did what to whom, how and where. Each part is a concept (told by one of its synonyms)
that belongs to a family of related concepts. Two sentences agree in a part fully if the concept is the same,
by half if only the family is, and not at all otherwise; the similarity is five times the weighted agreement.
"""

from __future__ import annotations

import functools
import itertools
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Part = Literal["subject", "verb", "object", "place", "manner"]

WEIGHTS: dict[Part, float] = {"subject": 0.26, "verb": 0.29, "object": 0.23, "place": 0.13, "manner": 0.09}
"""How much each part counts towards the similarity; together 1."""

# Families are separated by lines, concepts by spaces, synonyms by slashes; "_" joins the words of a phrase.
_GRAMMAR: dict[Part, str] = {
    "subject": """
        man/gentleman/guy woman/lady boy/lad girl/lass
        dog/hound/puppy cat/kitten/tomcat horse/pony cow/heifer
        teacher/tutor doctor/physician nurse/carer lawyer/attorney
        soldier/trooper officer/policeman/cop guard/watchman thief/burglar
        singer/vocalist painter/artist actor/performer writer/author
        farmer/grower cook/chef baker/confectioner butcher/meatman
        king/monarch queen/empress minister/secretary mayor/governor
        driver/motorist pilot/aviator sailor/seaman cyclist/biker""",
    "verb": """
        watched/observed noticed/spotted inspected/examined photographed/filmed
        carried/hauled lifted/raised pushed/shoved pulled/dragged
        cleaned/washed repaired/mended painted/coloured decorated/adorned
        chased/pursued attacked/assaulted kicked/booted grabbed/seized
        praised/applauded welcomed/greeted thanked/acknowledged helped/assisted
        purchased/acquired traded/exchanged borrowed/rented ordered/requested
        destroyed/wrecked damaged/harmed burned/torched dropped/spilled""",
    "object": """
        car/automobile truck/lorry bicycle/bike boat/vessel
        ball/football guitar/lute drum/tambourine kite/glider
        table/desk chair/seat sofa/couch bed/cot
        bread/loaf cake/pastry soup/broth cheese/cheddar
        book/novel letter/note newspaper/gazette map/chart
        house/home tower/spire bridge/viaduct fence/barrier
        tree/oak flower/blossom bush/shrub grass/lawn
        phone/telephone computer/laptop camera/camcorder television/telly""",
    "place": """
        in_the_garden/in_the_yard in_the_park/on_the_green in_the_forest/in_the_woods in_the_meadow/in_the_field
        on_the_beach/on_the_shore by_the_river/by_the_stream on_the_lake/on_the_pond near_the_harbour/near_the_port
        in_the_kitchen/by_the_stove in_the_bedroom/upstairs in_the_cellar/in_the_basement in_the_office/at_work
        on_the_street/on_the_road at_the_station/on_the_platform in_the_market/at_the_fair by_the_gate/at_the_gate""",
    "manner": """
        quickly/rapidly hurriedly/hastily suddenly/abruptly
        slowly/gradually carefully/cautiously gently/softly
        happily/cheerfully proudly/boldly eagerly/keenly
        angrily/furiously sadly/gloomily nervously/anxiously""",
}

# Word order is a nuisance that leaves the meaning alone.
_ORDERS = (
    "the {subject} {manner} {verb} the {object} {place}",
    "the {subject} {verb} the {object} {manner} {place}",
    "{place} the {subject} {manner} {verb} the {object}",
    "the {object} was {manner} {verb} by the {subject} {place}",
    "{place} the {object} was {verb} {manner} by the {subject}",
)

Concept = tuple[int, int]
"""Family and place in the family."""


@functools.cache
def _families(part: Part) -> tuple[tuple[tuple[str, ...], ...], ...]:
    """The synonyms of every concept, by family."""
    lines = _GRAMMAR[part].split("\n")[1:]
    return tuple(
        tuple(tuple(word.replace("_", " ") for word in entry.split("/")) for entry in line.split()) for line in lines
    )


def vocabulary() -> dict[str, int]:
    """Every word the grammar can write, numbered from 1 (0 is for padding), in alphabetical order.

    Example:
        >>> words = vocabulary()
        >>> 0 in words.values(), words["dog"] in words.values()
        (False, True)
    """
    fixed = {word for order in _ORDERS for word in order.split() if not word.startswith("{")}
    told = {
        word
        for part in WEIGHTS
        for family in _families(part)
        for synonyms in family
        for phrase in synonyms
        for word in phrase.split()
    }
    return {word: number for number, word in enumerate(sorted(fixed | told), start=1)}


def similarity(a: dict[Part, Concept], b: dict[Part, Concept]) -> float:
    """The true similarity of two statements, 0 (nothing in common) to 5 (the same).

    Example:
        >>> statement = {part: (0, 0) for part in WEIGHTS}
        >>> similarity(statement, statement), round(similarity(statement, statement | {"verb": (3, 0)}), 2)
        (5.0, 3.55)
    """
    agreement = 0.0
    for part, weight in WEIGHTS.items():
        same_family = a[part][0] == b[part][0]
        agreement += weight * (1.0 if a[part] == b[part] else 0.5 if same_family else 0.0)
    return 5.0 * round(agreement, 6)


@functools.cache
def _plans() -> tuple[tuple[tuple[float, ...], ...], NDArray[np.float64]]:
    """Every combination of agreements in the five parts, with its similarity."""
    plans = tuple(itertools.product((1.0, 0.5, 0.0), repeat=len(WEIGHTS)))
    return plans, 5 * np.array(plans) @ np.array(list(WEIGHTS.values()))


def _change(part: Part, concept: Concept, agreement: float, rng: np.random.Generator) -> Concept:
    """Another concept that agrees with the given one as much as asked."""
    families = _families(part)
    family, place = concept
    if agreement == 1.0:
        return concept
    if agreement == 0.5:
        size = len(families[family])
        return family, int(place + rng.integers(1, size)) % size
    family = int(family + rng.integers(1, len(families))) % len(families)
    return family, int(rng.integers(len(families[family])))


def _tell(statement: dict[Part, Concept], rng: np.random.Generator) -> str:
    """The statement in words: any synonyms, any order."""
    words = {}
    for part, (family, place) in statement.items():
        synonyms = _families(part)[family][place]
        words[part] = synonyms[rng.integers(len(synonyms))]
    return _ORDERS[rng.integers(len(_ORDERS))].format(**words)


def write_pair(score: float, rng: np.random.Generator, disagreement: float = 0.25) -> tuple[str, str, float]:
    """Two sentences for a score, as annotators give it: near their true similarity, not on it.

    Args:
        score: wanted, 0 to 5.
        rng: of the choices.
        disagreement: standard deviation of the score about the true similarity.

    Returns:
        Both sentences and their true similarity.

    Raises:
        ValueError: for a score outside [0, 5].

    Example:
        >>> a, b, truth = write_pair(5.0, np.random.default_rng(0), disagreement=0.0)
        >>> truth
        5.0
    """
    if not 0 <= score <= 5:
        raise ValueError(f"score: expected 0 to 5, got {score}")
    plans, values = _plans()
    target = np.clip(score + disagreement * rng.standard_normal(), 0, 5)
    distance = np.abs(values - target)
    near = np.flatnonzero(distance <= distance.min() + 0.06)
    plan = plans[rng.choice(near)]
    first: dict[Part, Concept] = {}
    second: dict[Part, Concept] = {}
    for part, agreement in zip(WEIGHTS, plan, strict=True):
        families = _families(part)
        family = int(rng.integers(len(families)))
        first[part] = family, int(rng.integers(len(families[family])))
        second[part] = _change(part, first[part], agreement, rng)
    return _tell(first, rng), _tell(second, rng), similarity(first, second)
