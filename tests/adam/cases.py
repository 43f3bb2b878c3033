"""The hyper-parameter tables the Adam tests run over."""

from .support import MASK, Case, schedule

NAMES = (
    "adam",
    "adamw",
    "amsgrad",
    "nadam",
    "nadamw",
    "adamax",
    "adamaxw",
    "radam",
    "adabelief",
    "yogi",
    "lamb",
    "adopt",
    "ademamix",
    "schedule_free_adamw",
)

LR = 0.05
LR_SCHEDULE = schedule(0.1, 0.01)
DECAY_SCHEDULE = schedule(0.0, 0.3)

# Hyper-parameters that optax has too. Learning rates are large, so that the distance travelled,
# and with it any error in a step, weighs as much as the parameters themselves.
SHARED = [
    *(Case(name, "constant", {"learning_rate": LR}) for name in NAMES),
    *(Case(name, "scheduled-lr", {"learning_rate": LR_SCHEDULE}) for name in NAMES),
    Case("adam", "eps-root", {"learning_rate": LR, "eps": 1e-4, "eps_root": 1e-3}),
    Case("adam", "nesterov", {"learning_rate": LR, "nesterov": True, "b1": 0.8, "b2": 0.95}),
    Case("adam", "no-momentum", {"learning_rate": LR, "b1": 0.0, "b2": 0.5}),
    Case("adamw", "decay", {"learning_rate": LR, "weight_decay": 0.3}),
    Case("adamw", "masked", {"learning_rate": LR, "weight_decay": 0.3, "mask": MASK}),
    Case("adamw", "scheduled-decay", {"learning_rate": LR, "weight_decay": DECAY_SCHEDULE}),
    Case("adamw", "nesterov", {"learning_rate": LR, "eps_root": 1e-4, "nesterov": True}),
    Case("amsgrad", "raw-mu", {"learning_rate": LR, "bias_correction_mu": False}),
    Case("amsgrad", "raw-nu", {"learning_rate": LR, "bias_correction_nu": False}),
    Case(
        "amsgrad",
        "paper",
        {
            "learning_rate": LR,
            "b2": 0.9,
            "bias_correction_mu": False,
            "bias_correction_nu": False,
            "eps_root": 1e-4,
        },
    ),
    Case("nadam", "eps-root", {"learning_rate": LR, "eps_root": 1e-3}),
    Case("nadamw", "masked", {"learning_rate": LR, "weight_decay": 0.3, "mask": MASK}),
    Case("adamaxw", "masked", {"learning_rate": LR, "weight_decay": 0.3, "mask": MASK}),
    Case("radam", "nesterov", {"learning_rate": LR, "nesterov": True, "eps_root": 1e-4}),
    Case("radam", "late", {"learning_rate": LR, "threshold": 8.0}),
    Case("radam", "never", {"learning_rate": LR, "b2": 0.5}),
    Case("adabelief", "nesterov", {"learning_rate": LR, "nesterov": True}),
    Case("adabelief", "paper-eps", {"learning_rate": LR, "eps": 1e-8, "eps_root": 0.0}),
    Case("yogi", "fast", {"learning_rate": LR, "b1": 0.8, "b2": 0.9, "eps": 1e-2}),
    Case("lamb", "decay", {"learning_rate": LR, "weight_decay": 0.3}),
    Case(
        "lamb",
        "masked",
        {"learning_rate": LR, "weight_decay": 0.3, "mask": MASK, "eps_root": 1e-4},
    ),
    Case("adopt", "nesterov", {"learning_rate": LR, "nesterov": True}),
    Case("adopt", "unclipped", {"learning_rate": LR, "b2": 0.9, "use_clipping": False}),
    Case("adopt", "clip-at-one", {"learning_rate": LR, "clip_value_fn": lambda count: 1.0}),
    Case(
        "ademamix",
        "schedules",
        {
            "learning_rate": LR,
            "b3": schedule(0.9, 0.999),
            "alpha": schedule(0.0, 8.0),
            "eps_root": 1e-4,
        },
    ),
    Case("ademamix", "masked", {"learning_rate": LR, "weight_decay": 0.3, "mask": MASK}),
    # optax computes the warm-up in float32 whatever the precision of the parameters (an int32
    # count divided by the steps), so the ramp here has exact float32 values: multiples of 2**-7.
    Case(
        "schedule_free_adamw",
        "warmup",
        {"learning_rate": 0.0625, "warmup_steps": 8, "weight_decay": 0.3},
    ),
    Case(
        "schedule_free_adamw",
        "weights",
        # rising, since it is the largest learning rate so far that the power is taken of
        {"learning_rate": schedule(0.01, 0.1), "b1": 0.95, "b2": 0.99, "weight_lr_power": 1.0},
    ),
]

# What adamx adds: scheduled decay rates and the "epsilon hat" form.
# Here b1 is no decay rate but the place of y between two sequences: one number for the whole run.
FIXED_B1 = ("schedule_free_adamw",)
B1_SCHEDULE = schedule(0.95, 0.8)
B2_SCHEDULE = schedule(0.99, 0.999)
EPS_HAT = {"learning_rate": LR, "eps_hat": True, "eps": 1e-3, "eps_root": 1e-6}
ADDED = [
    *(
        Case(
            name,
            "scheduled-betas",
            {"learning_rate": LR_SCHEDULE, "b1": B1_SCHEDULE, "b2": B2_SCHEDULE},
        )
        for name in NAMES
        if name not in FIXED_B1
    ),
    Case("schedule_free_adamw", "scheduled-b2", {"learning_rate": LR_SCHEDULE, "b2": B2_SCHEDULE}),
    Case("adam", "eps-hat", EPS_HAT),
    Case("adam", "eps-hat-nesterov", {**EPS_HAT, "nesterov": True}),
    Case("adam", "eps-hat-default-eps", {"learning_rate": LR, "eps_hat": True}),
    Case("adamw", "eps-hat", {**EPS_HAT, "weight_decay": 0.3, "mask": MASK}),
    Case("nadam", "eps-hat", EPS_HAT),
    Case("nadamw", "eps-hat", {**EPS_HAT, "weight_decay": 0.3}),
]
