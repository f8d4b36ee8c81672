"""Feature distribution smoothing (FDS) and its variants.

Reading order: ``layer`` (the module), ``_tables`` (its state), ``statistics`` (moments of each bin, smoothing and
folding), ``calibration`` (the training step), then ``probabilistic`` (VIR) and ``output`` (FDS of predictions).
``attach`` puts an FDS into a finished model, and ``_given`` is the context that gives it labels.
``_inputs`` checks shapes, ``_reminder`` warns of epochs without end_epoch(), and ``_triton`` is the GPU kernel.

The method (Yang et al., ICML 2021, equations 2 to 6), for features z, bin b and its N_b samples of an epoch:

* Eq. 2, mean of a bin: ``mu_b = sum(z_i) / N_b``.
* Eq. 3, variance of a bin: ``var_b = sum((z_i - mu_b)^2) / (N_b - 1)``.
* Eq. 4, smoothed mean: ``mu~_b = sum_c k(b, c) mu_c``, with a symmetric kernel k.
* Eq. 5, smoothed variance: ``var~_b = sum_c k(b, c) var_c``.
* Eq. 6, calibration: ``z~ = sqrt(var~_b / var_b) * (z - mu_b) + mu~_b``.

During an epoch the layer sums N, z and z^2 (``dir._epoch_sums``). ``end_epoch()`` turns the sums into Eq. 2 and 3,
moves the running statistics by the momentum, smooths them by Eq. 4 and 5, and folds Eq. 6 into one scale and one
shift per bin and feature: ``scale_b = sqrt(clip(var~_b / var_b))`` and ``shift_b = mu~_b - mu_b * scale_b``. A
training step is ``z~ = z * scale_b + shift_b``.
"""

from __future__ import annotations

from dir.fds.attach import attach_fds, detach_fds
from dir.fds.layer import FDS
from dir.fds.output import OutputFDS
from dir.fds.probabilistic import ProbabilisticFDS

__all__ = ["FDS", "OutputFDS", "ProbabilisticFDS", "attach_fds", "detach_fds"]
