"""Every field of every experiment, with its unit, its meaning and its source.

The other configs start from this one and change fields; none may add a field of its own. Override any
field on the command line: `--config=configs/zaremba.py:small --config.optim.learning_rate=0.5`.
"""

from ml_collections import ConfigDict


def get_config(task: str = "language_model") -> ConfigDict:
    """The defaults: a small language model on the embedded corpus.

    With the name of another task, e.g. `--config=configs/base.py:parity`, the section `task` is that task's:
    its fields are the arguments of its function in lstm_jax/tasks/, where their meaning is told.
    """
    config = _language_model()
    if task != "language_model":
        from lstm_jax import tasks  # only here: jax takes a second to import

        config.task = ConfigDict(tasks.arguments(task))
    return config


def _language_model() -> ConfigDict:
    config = ConfigDict()
    config.seed = 1  # root of every random stream

    config.task = ConfigDict(
        dict(
            name="language_model",
            corpus="pydoc",  # pydoc (embedded) | ptb | text (train.txt, valid.txt, test.txt)
            data_dir="",  # where the corpus lies; "" means the environment variable LSTM_JAX_DATA
            level="word",  # word | char
            batch=20,  # B, parallel streams of the training text
            window=35,  # T, tokens of a truncated back-propagation window
            window_jitter=0.0,  # standard deviation of T in tokens (AWD-LSTM: 5)
            window_half=0.0,  # probability that the base T is halved (AWD-LSTM: 0.05)
            eval_batch=1,  # parallel streams in evaluation; 1 is exact: one pass, one carry
            eval_window=512,  # tokens a call in evaluation; changes no figure
            eval_warmup=0,  # with eval_batch > 1: unscored context tokens before each stream
        )
    )

    config.model = ConfigDict(
        dict(
            # recurrent | dynamic_memory (a story and a question, with one width in hidden)
            # | classifier (one answer a sequence)
            name="recurrent",
            hidden=(200, 200),  # H of each layer, from the input up
            embedding=200,  # E
            tied=False,  # head weight = embedding (Press & Wolf 2017); needs hidden[-1] == E
            init="uniform(0.1)",  # embedding and head weights
            cell=ConfigDict(
                dict(
                    name="lstm",  # a name of lstm_jax.cells.CELLS
                    # number | one number a layer "0,1" | chrono(T_max) | uniform | timescale(T)
                    # | timescale(inverse_gamma, alpha, scale) | powerlaw | "": the cell's own default
                    # Cells without one (cells.NO_FORGET_BIAS: gru, lstm_1997, ...) do not read it.
                    forget_bias="1",
                    forget_bias_trainable=True,
                    init="lecun",  # lecun (input lecun_normal, recurrent orthogonal) | torch | uniform(a)
                    options="",  # what this cell alone takes, e.g. "gate_activation=hard_sigmoid"
                )
            ),
            dropout=ConfigDict(
                dict(
                    embedding=0.0,  # whole word types (Gal & Ghahramani 2016)
                    input=0.0,  # on the embedded words
                    between=0.0,  # between layers
                    output=0.0,  # before the head
                    locked=False,  # one mask for all steps of a window, or a new one each step
                    weight=0.0,  # on w_h, one mask a window (weight drop, Merity 2017)
                    zoneout_cell=0.0,  # c keeps its last value (Krueger 2017)
                    zoneout_hidden=0.0,  # h keeps its last value
                )
            ),
            dtype="float32",  # float32 | bfloat16 compute; parameters, cell state, loss stay float32
            backend="auto",  # auto | scan | loop | fused (NVIDIA) | cudnn | associative | newton
            episodes=3,  # dynamic_memory: passes over the story's sentences (Kumar 2016)
            episode_gates="softmax",  # dynamic_memory: softmax (Xiong 2016) | sigmoid (Kumar 2016)
            directions=1,  # classifier: 1, or 2: each layer reads the sequence backwards too
            pooling="last",  # classifier: last | mean | attention, what of a sequence its answer is made from
            scan_unroll=1,  # steps unrolled in one iteration of the scan
            remat_chunk=0,  # steps kept between rematerialised chunks; 0 keeps all
        )
    )

    config.objective = ConfigDict(
        dict(
            over_time="mean",  # mean over the window's tokens | sum over T of the mean over B (Zaremba 2014)
            l1=0.0,  # coefficient a: adds a * sum |w|
            l2=0.0,  # coefficient a: adds a/2 * sum w^2, so that its gradient is a * w
            penalty="loss",  # loss (clipped with it) | gradient (after clipping: torch) | decoupled (AdamW)
            penalty_mask=(".*",),  # regular expressions over parameter names that l1 and l2 act on
            ar=0.0,  # activation regularisation: a * mean(dropped h^2) (Merity 2017)
            tar=0.0,  # temporal activation regularisation: a * mean((h_t+1 - h_t)^2)
        )
    )

    config.optim = ConfigDict(
        dict(
            name="adam",  # adam | sgd | rmsprop
            learning_rate=1e-3,
            clip=5.0,  # global norm of the gradient; 0 does not clip
            momentum=0.0,  # sgd
            beta1=0.9,  # adam
            beta2=0.999,  # adam, rmsprop
            eps=1e-8,
            schedule="constant",  # constant | decay (Zaremba) | plateau | cosine
            decay_after=0,  # decay: epochs at the full rate
            decay_factor=1.0,  # decay: divisor of the rate each later epoch; plateau: divisor each time
            warmup=0,  # cosine: epochs of linear warm-up
            average=False,  # averaged SGD; evaluation then uses the averaged weights
            average_after=5,  # NT-ASGD: n, evaluations without a new best before it starts; -1: at once
            scale_by_length=False,  # learning rate times (tokens of this window) / window (AWD-LSTM)
        )
    )

    config.train = ConfigDict(
        dict(
            epochs=10,
            init_from="",  # run's directory (its best parameters) or safetensors file to start from; "" draws
            patience=0,  # stop after so many evaluations without a new best; 0 never
            eval_every=0,  # steps between evaluations; 0: at the end of each epoch
            save_every=0,  # steps between saves; 0: at each evaluation
            steps_per_call=100,  # windows inside one compiled call; also the log interval
            stop_when_solved=False,  # stop at the first evaluation that meets the task's criteria
            axis="jit",  # jit (mesh with shardings) | pmap
            keep=2,  # newest checkpoints kept; the best is kept besides
            tensorboard=True,
            track="",  # report metrics to trackers too: wandb, mlflow, or both with a comma between
        )
    )

    config.evaluate = ConfigDict(
        dict(
            dynamic=False,  # dynamic evaluation (Krause 2018), in a column of its own
            dynamic_rate=5e-5,
            dynamic_decay=2e-3,
            dynamic_eps=2e-5,
            dynamic_window=5,
            cache=False,  # neural cache (Grave 2017), in a column of its own
            cache_size=500,
            cache_theta=1.0,
            cache_lambda=0.1,
            # test at these lengths of the task too, e.g. (100, 200), beside the trained one; "41:160:8"
            # is each 8th length from 41 to 160, and their mean is told too
            lengths=(),
            sample=200,  # tokens of a sampled continuation printed at the end; 0 none
            sample_prompt="",
        )
    )
    return config
