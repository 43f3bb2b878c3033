"""The suites: one module per question, loaded when it is asked."""

from __future__ import annotations

SUITES = {
    "dense": "one large leaf, against its size",
    "trees": "the leaves of GPT-2 small and of ResNet-50, and 1,000 small leaves",
    "recipes": "clipping, decay, average and guard in one step",
    "compile": "lowering and compile time, against the number of leaves",
    "memory": "bytes kept, allocated and moved, as compiled, against parameters",
    "sparse": "embedding rows, against table size, touched rows and width, in each mode",
    "precision": "moments and parameters of fewer bits: bytes, time, and what is learnt",
    "train": "a whole training step, and the optimizer's share",
    "devices": "bytes per device, replicated and sharded, on virtual devices",
    "topology": "7 B parameters on 8, 64 and 256 chips of a TPU: bytes per chip, as compiled",
}
