"""Eight devices on every machine: the CPU is divided up before any test asks for another number."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
jax.devices()
