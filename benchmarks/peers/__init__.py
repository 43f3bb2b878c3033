"""The libraries that are measured beside each other."""

from benchmarks.peers.adamx_peer import Adamx
from benchmarks.peers.base import Peer
from benchmarks.peers.keras_peer import Keras
from benchmarks.peers.optax_peer import Optax
from benchmarks.peers.torch_peer import Torch

PEERS: dict[str, Peer] = {
    peer.name.replace(" ", "-"): peer
    for peer in (Adamx(), Optax(), Keras(), Torch("fused"), Torch("foreach"))
}
