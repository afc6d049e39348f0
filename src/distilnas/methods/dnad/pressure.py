"""The controller of a shrinking supernet: how strongly it is pressed, and when it has come to rest; no torch.

The symbols are those of the authors' public code. Each step reports how many candidates it deleted, p:

    m := tau m + (1 - tau) p
    m < n_max:  gamma := phi gamma; if gamma was at least gamma_max already, q := q + 1, else q := 0
    otherwise:  gamma := k gamma;   q := 0
    q >= q_max: Pareto event: mu := rho mu, n_max := xi n_max, q := 0

At an event the pressure is high, yet nothing has been deleted for q_max steps: loss and sparsity are in balance. A
greater mu then ends the balance. gamma is not capped: gamma_max is the level from which rest is counted.
"""

from dataclasses import asdict, dataclass

from distilnas.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class PressureSettings:
    """The ten constants; the defaults are those of the authors' CIFAR-10 search."""

    gamma: float = 1e-4
    gamma_max: float = 0.1
    phi: float = 1.01
    k: float = 0.99
    tau: float = 0.9
    n_max: float = 0.005
    q_max: int = 50
    mu: float = 0.1
    rho: float = 1.5
    xi: float = 1.0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if value <= 0:
                raise UsageError(f"the constants of the pressure are positive, got {name}={value}.")
        if self.phi <= 1 or self.k >= 1 or self.tau >= 1:
            raise UsageError(
                "gamma must grow by phi above 1 and fall by k below 1, and tau must be below 1, got "
                f"phi={self.phi}, k={self.k}, tau={self.tau}."
            )


IMAGENET_PRESSURE = PressureSettings(gamma=1e-6, gamma_max=1e-3, tau=0.99, n_max=5e-4, q_max=300)


class Pressure:
    """gamma and mu as they are now."""

    def __init__(self, settings: PressureSettings) -> None:
        self.settings = settings
        self.gamma, self.mu, self.n_max = settings.gamma, settings.mu, settings.n_max
        self.m, self.q = 0.0, 0

    def update(self, deleted: int) -> bool:
        """After a step that deleted so many candidates; whether it is a Pareto event."""
        constants = self.settings
        self.m = constants.tau * self.m + (1 - constants.tau) * deleted
        if self.m >= self.n_max:
            self.gamma, self.q = constants.k * self.gamma, 0
            return False
        self.q = self.q + 1 if self.gamma >= constants.gamma_max else 0
        self.gamma *= constants.phi
        if self.q < constants.q_max:
            return False
        self.mu, self.n_max, self.q = constants.rho * self.mu, constants.xi * self.n_max, 0
        return True

    def state_dict(self) -> dict[str, float]:
        """All that the next update depends on."""
        return {"gamma": self.gamma, "mu": self.mu, "n_max": self.n_max, "m": self.m, "q": self.q}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """Restore ``state_dict``."""
        self.gamma, self.mu, self.n_max, self.m = (state[name] for name in ("gamma", "mu", "n_max", "m"))
        self.q = int(state["q"])
