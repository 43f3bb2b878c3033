"""Eight devices on every machine: the CPU is divided up before anything uses it."""

import jax

jax.config.update("jax_num_cpu_devices", 8)
