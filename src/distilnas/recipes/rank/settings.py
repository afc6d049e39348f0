"""Settings of a comparison of ratings with true accuracies."""

from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import Any, Literal

from distilnas.baselines import spos
from distilnas.baselines.zerocost import ZERO_COST
from distilnas.errors import UsageError, nearest
from distilnas.methods.dna import RateSettings
from distilnas.recipes.settings import Settings, check_seeds, plain


@dataclass(frozen=True, kw_only=True)
class RankSettings:
    """The recipe ``rank``.

    ``truth``: CSV or JSON of true accuracies (column ``field``). ``digits``: the space whose op indices names of digits
    mean (02012100); the run's own may cut the same layers into other blocks. ``metrics``: ratings to compare, on the
    images of ``dna.rate``; ``ratings``: further ones by a name of the user's, on the first ``images`` of these.
    ``budgets`` (40M, params=2M) are in the truth's own costs. ``one_shot`` None: no such baseline. ``zero_cost``: names
    in ``ZERO_COST``, scores of the untrained networks on 32 of the rating images. ``fit``: every rating is also
    compared as ``NAME_fitted``, its blocks weighted as fits this many networks of the truth, drawn by the run's seed;
    that record is of all other networks. A rating that rises with accuracy on them has none.
    """

    recipe: Literal["rank"] = "rank"
    dna: Settings
    truth: str
    field: str | None = None
    digits: str | None = None
    metrics: tuple[str, ...] = ("relative_l1", "stitched_sqrt_logit_mse")
    ratings: dict[str, RateSettings] = dataclass_field(default_factory=dict)
    budgets: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (0,)
    one_shot: spos.SposSettings | None = None
    zero_cost: tuple[str, ...] = ()
    fit: int | None = None

    def __post_init__(self) -> None:
        if not self.metrics:
            raise UsageError("a ranking needs at least one metric: set metrics.")
        if twice := self._named_twice():
            raise UsageError(
                f"two scores would be named {', '.join(twice)}: metrics and zero_cost may name each once, and ratings "
                "need names of their own."
            )
        check_seeds(self.seeds)
        for score in self.zero_cost:
            if score not in ZERO_COST:
                raise UsageError(f"unknown zero-cost score {score!r}; {nearest(score, ZERO_COST)}")
        for name, rating in self.all_ratings().items():
            if rating.images > self.dna.rate.images:
                raise UsageError(
                    f"ratings.{name}.images={rating.images} are more than the {self.dna.rate.images} images held out; "
                    "raise dna.rate.images."
                )

    def all_ratings(self) -> dict[str, RateSettings]:
        """What every rating that is compared is made by."""
        return {metric: replace(self.dna.rate, metric=metric) for metric in self.metrics} | self.ratings

    def _named_twice(self) -> list[str]:
        names = [*self.metrics, *self.ratings]
        names += [f"{name}_fitted" for name in names if self.fit is not None]
        names += [*self.zero_cost, *(("one_shot_loss", "one_shot_accuracy") if self.one_shot else ())]
        return sorted({name for name in names if names.count(name) > 1})

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values (tuples become lists)."""
        return plain(self)
