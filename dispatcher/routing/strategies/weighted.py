"""By shares for each workload, such as coding 80/20 (requirement C1): lots that fall in these proportions, and roles.

The workload is the one behind the colon (`weighted:code`), else the kind of question that the text looks like. Workloads are free
names: `[workloads.utility]` with a share for each small board gives those boards the role, and `weighted:utility` asks for it.

A device with a share of 0 is a fallback: it comes behind all that have one. A device that the workload does not name is behind
those. Where the policy has no shares for the kind of question it is the hybrid score, and says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from common.errors import BadRequest
from dispatcher.routing.figures import Numbers
from dispatcher.routing.kinds import kind_of
from dispatcher.routing.strategies.hybrid import hybrid
from dispatcher.routing.strategies.lots import uniform
from dispatcher.routing.strategies.seam import Scene, Scores

NO_SHARE = -1.0
"""Of a device that the workload does not name."""

SHARED, FALLBACK, UNNAMED = 2 / 3, 1 / 3, 0.0
"""Where the three groups begin in [0, 1]."""


def weighted(scene: Scene) -> Scores:
    """Draw lots: `u^(1/share)` with u uniform in (0, 1) puts a device first with a probability of its share of the sum
    (Efraimidis and Spirakis 2006, weighted random sampling). Among the models of one device the healthiest comes first.

    Raises `BadRequest` for a workload behind the colon that the policy does not have."""
    workloads, named = scene.policy.workloads, scene.ask.variant
    if named and workloads and named not in workloads:
        raise BadRequest(
            f"there is no workload {named[:60]!r}: use one of {', '.join(sorted(workloads))}", param="strategy"
        )
    workload = named or scene.ask.workload or kind_of(scene.ask.wanted)
    shares = workloads.get(workload)
    if shares is None:
        lacks = f"shares for the workload {workload} (scored as hybrid)"
        return replace(hybrid(scene), told={"lacks": f"{scene.ask.lacks}; {lacks}" if scene.ask.lacks else lacks})
    names, devices = scene.view.layout.devices, scene.device_of
    drawn = _lots([shares.get(name, NO_SHARE) for name in names], scene.ask.seed)[devices]
    there = np.bincount(devices, minlength=len(names)).nonzero()[0].tolist()
    told = {names[one]: shares[names[one]] for one in there if names[one] in shares}  # of others a tenant need not hear
    # Scores of devices differ by far more than a health of 1 moves them here, except where lots are equal.
    return Scores(
        drawn * 0.999 + 0.001 * scene.terms.health / 3,
        weights=told,
        local_first=False,
        rule="by lot, by the shares of devices",
    )


def _lots(shares: Sequence[float], seed: int) -> Numbers:
    """Draw for each device, in the order of their names. In proportion to the largest share, lots lie well apart: with 80 and 20 as
    they are all would be near 1."""
    drawn, share = uniform(seed, len(shares)), np.array(shares)
    most = share.max(initial=0.0)
    with np.errstate(all="ignore"):  # where there is no share it is not looked at
        shared = SHARED + np.maximum(drawn, 1e-12) ** (most / share) / 3
    without = np.where(share == 0.0, FALLBACK, UNNAMED) + drawn / 3 * 0.99
    lots: Numbers = np.where(share > 0.0, shared, without)
    return lots
