"""`drover lab label|train|eval|centroids|feedback|speed|replay|cache-eval|train-verifier`: options in, lines out; it knows neither
how weights are found nor what figures mean.

Every verb of `drover` loads this module: what a verb needs is imported when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from dispatcher.lab.router.verbs import Source

app = typer.Typer(
    name="lab",
    help="Train and judge what routes, from your own examples; measure how fast it is.",
    no_args_is_help=True,
)

_Tier = Literal["static", "minilm", "reference", "none"]

_FROM = Annotated[
    Path,
    typer.Option("--from", help="CSV, plain or .gz: columns prompt, weak, strong and perhaps weak_response, domain"),
]
_EMBEDDER = Annotated[
    _Tier | None,
    typer.Option(
        "--embedder", help="how prompts become vectors; none: text signals only [default: as DROVER_EMBEDDER says]"
    ),
]
_EMBEDDER_PATH = Annotated[
    Path | None,
    typer.Option("--embedder-path", help="its file [default: DROVER_EMBEDDER_PATH, with the embedder of the settings]"),
]
_VECTORS = Annotated[
    Path | None, typer.Option("--vectors", help=".npy file with a row for each label, instead of an embedder")
]
_IDENTITY = Annotated[
    str | None,
    typer.Option("--embedder-identity", help="with --vectors: the embedder that made them, e.g. minilm-static-256@…"),
]
_COLUMN = Annotated[
    list[str] | None,
    typer.Option(
        "--column", help="weak=mistral-7b and the like: another name for a column; may be given more than once"
    ),
]
_SEED = Annotated[int, typer.Option("--seed", help="the same seed gives the same weights and figures")]
_FOLDS = Annotated[int, typer.Option("--folds", min=2, max=50, help="parts that the labels are divided into")]
_DRAWS = Annotated[int, typer.Option("--draws", min=1, max=100_000, help="bootstrap draws for the 95 % intervals")]


@app.command()
def train(
    labels: _FROM,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help=".npz file; its cards go beside it")] = Path(
        ".drover/router/router.npz"
    ),
    embedder: _EMBEDDER = None,
    embedder_path: _EMBEDDER_PATH = None,
    vectors: _VECTORS = None,
    embedder_identity: _IDENTITY = None,
    column: _COLUMN = None,
    seed: _SEED = 0,
    folds: _FOLDS = 5,
    draws: _DRAWS = 500,
    evaluation: Annotated[bool, typer.Option("--eval/--no-eval", help="put figures into the card")] = True,
    base: Annotated[
        str | None, typer.Option("--base", help="several models: the column of the cheapest one, or model=column")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="with --base: the column of another model, or model=column; repeatable"),
    ] = None,
    strong: Annotated[
        list[str] | None,
        typer.Option(
            "--strong", help="with --base: a model that counts as strong [default: by the sizes in the names]"
        ),
    ] = None,
    head_chars: Annotated[
        int,
        typer.Option(
            "--head-chars", min=0, max=200, help="characters of each prompt that the weights keep, to explain"
        ),
    ] = 80,
) -> None:
    """Train a router between a weak and a strong model, and write it with its model card; with --base among several models."""
    from dispatcher.lab.router.fit import Recipe  # noqa: PLC0415  # as above
    from dispatcher.lab.router.judging import Plan  # noqa: PLC0415  # see the module
    from dispatcher.lab.router.verbs import train_verb  # noqa: PLC0415  # as above

    if (base is None) != (not model):
        raise typer.BadParameter(
            "--base and --model belong together: a column for the base, and one for each other model"
        )
    if base is not None and model:
        from dispatcher.lab.router.several_verb import named, train_several_verb  # noqa: PLC0415  # as above

        path, models = output, (base, tuple(model), tuple(strong or ()))
        _run(
            lambda: train_several_verb(
                _source(
                    labels,
                    (embedder, embedder_path),
                    vectors,
                    column,
                    identity=embedder_identity,
                    head_chars=head_chars,
                ),
                named(*models),
                path,
                Recipe(seed=seed),
                draws=draws,
                evaluation=evaluation,
            )
        )
        return
    plan = Plan(seed=seed, folds=folds, draws=draws) if evaluation else None
    _run(
        lambda: train_verb(
            _source(
                labels, (embedder, embedder_path), vectors, column, identity=embedder_identity, head_chars=head_chars
            ),
            output,
            Recipe(seed=seed),
            plan,
        )
    )


@app.command("eval")
def evaluate(
    labels: _FROM,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for report.json, report.md and plots")] = Path(
        "results/router"
    ),
    embedder: _EMBEDDER = None,
    embedder_path: _EMBEDDER_PATH = None,
    vectors: _VECTORS = None,
    embedder_identity: _IDENTITY = None,
    column: _COLUMN = None,
    seed: _SEED = 0,
    folds: _FOLDS = 5,
    repeats: Annotated[
        int, typer.Option("--repeats", min=1, max=100, help="do it so often, divided anew each time")
    ] = 1,
    train_rows: Annotated[
        int | None, typer.Option("--train-rows", min=40, help="train on so many labels, test on all others; no folds")
    ] = None,
    grouped: Annotated[
        bool,
        typer.Option(
            "--grouped/--ungrouped", help="keep prompts with the same first 100 characters on one side, or copies alone"
        ),
    ] = True,
    unseen_folds: Annotated[
        int, typer.Option("--unseen-folds", min=0, max=50, help="parts for the test on unseen domains; 0: none")
    ] = 5,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="look again without this domain; may be given more than once")
    ] = None,
    cost_ratio: Annotated[
        float, typer.Option("--cost-ratio", min=0, max=1, help="what a weak call costs of a strong one")
    ] = 0.1,
    draws: _DRAWS = 1000,
    by_domain: Annotated[
        bool, typer.Option("--by-domain", help="intervals for other domains: whole ones are drawn, not prompts")
    ] = False,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="judge these on the labels that they were not trained on; trains nothing"),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="with --weights of several models: the column of the base")
    ] = None,
    model: Annotated[list[str] | None, typer.Option("--model", help="as in train")] = None,
    scores: Annotated[
        Path | None,
        typer.Option("--scores", help="CSV file for each method's score of each test prompt, to compute figures again"),
    ] = None,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="draw PNG and SVG; needs the extra lab")] = True,
) -> None:
    """Judge a router out of sample, beside random calls, prompt length, the domain's mean and the oracle."""
    from dispatcher.lab.router.fit import Recipe  # noqa: PLC0415  # as above
    from dispatcher.lab.router.judging import Plan  # noqa: PLC0415  # see the module
    from dispatcher.lab.router.verbs import eval_verb  # noqa: PLC0415  # as above

    if base is not None or model:
        if base is None or not model or weights is None:
            raise typer.BadParameter("--base and --model belong together, and judge --weights of several models")
        from dispatcher.lab.router.several_verb import eval_several_verb, named  # noqa: PLC0415  # as above

        models, of = (base, tuple(model)), weights
        _run(
            lambda: eval_several_verb(
                _source(labels, (embedder, embedder_path), vectors, column),
                named(*models),
                of,
                output,
                draws=draws,
                seed=seed,
            )
        )
        return

    plan = Plan(
        seed=seed,
        folds=folds,
        repeats=repeats,
        train_rows=train_rows,
        grouped=grouped,
        unseen_folds=unseen_folds,
        without=tuple(without or ()),
        cost_ratio=cost_ratio,
        draws=draws,
        by_domain=by_domain,
    )
    _run(
        lambda: eval_verb(
            _source(labels, (embedder, embedder_path), vectors, column, identity=embedder_identity),
            output,
            Recipe(seed=seed),
            plan,
            plots=plots,
            weights=weights,
            scores=scores,
        )
    )


@app.command()
def centroids(
    examples: Annotated[Path, typer.Option("--from", help="CSV, plain or .gz: the column text and perhaps topic")],
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help=".npz file; its card goes beside it")] = Path(
        ".drover/topics/topics.npz"
    ),
    embedder: _EMBEDDER = None,
    embedder_path: _EMBEDDER_PATH = None,
    count: Annotated[
        int | None,
        typer.Option(
            "--topics", min=2, max=100, help="how many to find where none are named [default: what parts best]"
        ),
    ] = None,
    seed: _SEED = 0,
) -> None:
    """Train topics of your own: centroids of examples, labelled or found by k-means."""
    from dispatcher.lab.centroids.verb import centroids_verb  # noqa: PLC0415  # see the module
    from dispatcher.lab.embedding import chosen  # noqa: PLC0415  # as above

    _run(lambda: centroids_verb(examples, output, chosen(embedder, embedder_path), count=count, seed=seed))


@app.command()
def feedback(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="folder for feedback.json and the plot")] = Path(
        "results/feedback"
    ),
    seeds: Annotated[int, typer.Option("--seeds", min=2, max=10_000, help="simulated fleets, each another one")] = 30,
    seed: Annotated[int, typer.Option("--seed", min=0, help="the first of them")] = 0,
    jobs: Annotated[int, typer.Option("--jobs", min=100, max=1_000_000, help="jobs for each fleet")] = 3000,
    shift_at: Annotated[int, typer.Option("--shift-at", help="jobs until the speeds shift")] = 1000,
    devices: Annotated[int, typer.Option("--devices", min=2, max=1000, help="devices of each fleet")] = 4,
    load: Annotated[
        float, typer.Option("--load", min=0.01, max=0.95, help="part of its first capacity that is used")
    ] = 0.3,
    target_s: Annotated[float, typer.Option("--target", min=0.1, help="seconds that an answer may take")] = 8.0,
    plots: Annotated[bool, typer.Option("--plots/--no-plots", help="draw PNG and SVG; needs the extra lab")] = True,
) -> None:
    """Simulate fleets whose speeds shift: how fixed and how learned weights recover."""
    from dispatcher.lab.feedback.fleet import Plan  # noqa: PLC0415  # see the module
    from dispatcher.lab.feedback.verb import feedback_verb  # noqa: PLC0415  # as above

    plan = Plan(jobs=jobs, shift_at=shift_at, devices=devices, load=load)
    _run(lambda: feedback_verb(plan, output, seeds=seeds, first_seed=seed, target_s=target_s, plots=plots))


@app.command()
def speed(
    *,
    quick: Annotated[bool, typer.Option("--quick", help="one short round, to see that it works")] = False,
    rounds: Annotated[int, typer.Option("--rounds", min=1, max=100, help="how often everything is measured")] = 5,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="JSON file for the figures")] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="PNG file: what the bridge adds; needs the extra lab")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON instead of a table")] = False,
) -> None:
    """Measure bare nats-py and the same work through Drover, side by side, its bridge and its decisions; two minutes a round."""
    from dispatcher.lab.speed.report import run_speed  # noqa: PLC0415  # see the module

    raise typer.Exit(run_speed(quick=quick, rounds=rounds, output=output, plot=plot, as_json=as_json))


@app.command()
def replay(
    *,
    devices: Annotated[
        list[str],
        typer.Option(
            "--devices", help="boards of a simulated fleet, such as orin-nano,pi5,shed=pi4; repeatable, a fleet each"
        ),
    ],
    jobs: Annotated[
        Path | None,
        typer.Option(
            "--jobs",
            help="records as `drover ledger export` or `drover jobs --json` writes them: .csv, .parquet, .jsonl, .json",
            show_default="those of the running ledger",
        ),
    ] = None,
    strategy: Annotated[
        list[str] | None, typer.Option("--strategy", help="repeatable, a run each", show_default="the fleet's own")
    ] = None,
    speed: Annotated[float, typer.Option("--speed", min=0.1, help="times faster than life; 100 at most")] = 20.0,
    recorded_speed: Annotated[
        float,
        typer.Option("--recorded-speed", min=0.1, max=1000, help="how much faster than life the recorded fleet ran"),
    ] = 1.0,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=10_000, help="the newest so many jobs")] = 200,
    tenant: Annotated[str | None, typer.Option("--tenant", help="those of one tenant alone")] = None,
    since: Annotated[str | None, typer.Option("--since", help="24h, 7d, today, or a date")] = None,
    until: Annotated[str | None, typer.Option("--until", help="as --since", show_default="now")] = None,
    per_kwh: Annotated[
        float | None,
        typer.Option(
            "--per-kwh", min=0, max=100, help="what a kilowatt-hour costs", show_default="as the records have it"
        ),
    ] = None,
    currency: Annotated[str, typer.Option("--currency", help="with --per-kwh")] = "EUR",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="folder for a line per job, the figures, and the plot")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="draw PNG and SVG into --out; needs the extra lab")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="print the figures as JSON instead of a table")] = False,
) -> None:
    """Re-run recorded jobs on simulated fleets: what another fleet or strategy would have made of them."""
    from dispatcher.cli.running import run  # noqa: PLC0415  # see the module
    from dispatcher.lab.replay.outcome import Price  # noqa: PLC0415  # as above
    from dispatcher.lab.replay.source import Wanted  # noqa: PLC0415  # as above
    from dispatcher.lab.replay.verb import Order  # noqa: PLC0415  # as above
    from dispatcher.lab.replay.verb import replay as replay_verb  # noqa: PLC0415  # as above

    if plot and out is None:
        raise typer.BadParameter("--plot needs --out, the folder to draw into")
    order = Order(
        wanted=Wanted(file=jobs, tenant=tenant, since=since, until=until),
        fleets=tuple(devices),
        strategies=tuple(strategy or ()),
        speed=speed,
        recorded_speed=recorded_speed,
        limit=limit,
        price=None if per_kwh is None else Price(per_kwh=per_kwh, currency=currency),
        out=out,
        plot=plot,
        as_json=as_json,
    )
    raise typer.Exit(run(replay_verb(order)))


@app.command()
def label(
    prompts: Annotated[
        Path, typer.Option("--from", help="CSV, plain or .gz: the column prompt, and perhaps domain and right answers")
    ],
    *,
    weak: Annotated[
        str, typer.Option("--weak", help="model whose answers are to do where they can; model@device pins")
    ],
    strong: Annotated[str, typer.Option("--strong", help="model that is asked where they can't")],
    judge: Annotated[str | None, typer.Option("--judge", help="model that grades both answers")] = None,
    gold: Annotated[
        str | None,
        typer.Option("--gold", help="instead of a judge: column with the right answer, a number, letter or text"),
    ] = None,
    url: Annotated[
        str, typer.Option("--url", help="any server with OpenAI's API; its key is read from OPENAI_API_KEY")
    ] = "http://127.0.0.1:8080/v1",
    output: Annotated[Path, typer.Option("--out", "--output", "-o", help="CSV; what it has is not asked again")] = Path(
        "labels.csv"
    ),
    max_usd: Annotated[
        float | None, typer.Option("--max-usd", min=0, help="spend no more, over all runs on --out")
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            "--price", help="model=input/output in US dollars per million tokens; may be given more than once"
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="spend without a cap and without being asked")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="tell what it would cost, and ask nothing")] = False,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="the first so many prompts alone")] = None,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, max=256, help="rows at a time")] = 4,
    retries: Annotated[int, typer.Option("--retries", min=0, max=50, help="tries after one that failed")] = 5,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=1, help="seconds without a byte until a call failed")
    ] = 600.0,
    swap: Annotated[
        bool, typer.Option("--swap/--no-swap", help="judge each pair in both orders, at twice the price")
    ] = True,
    system: Annotated[str | None, typer.Option("--system", help="system prompt for both models")] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="most tokens of an answer")] = 512,
    temperature: Annotated[
        float, typer.Option("--temperature", min=-1, max=2, help="below 0: not said, for models that take none")
    ] = 0.0,
    seed: Annotated[int | None, typer.Option("--seed", help="sent with each call")] = None,
    prompt_column: Annotated[str, typer.Option("--prompt-column")] = "prompt",
    domain_column: Annotated[str, typer.Option("--domain-column")] = "domain",
) -> None:
    """Make labels for `drover lab train`: both models answer, and a judge or the right answers grade them."""
    from dispatcher.cli.running import run  # noqa: PLC0415  # see the module
    from dispatcher.lab.label.run import Wish  # noqa: PLC0415  # as above
    from dispatcher.lab.label.verb import Order, label_verb  # noqa: PLC0415  # as above

    wish = Wish(
        weak=weak,
        strong=strong,
        judge=judge,
        swap=swap,
        system=system,
        max_tokens=max_tokens,
        temperature=temperature if temperature >= 0 else None,
        seed=seed,
    )
    order = Order(
        source=prompts,
        output=output,
        url=url.rstrip("/"),
        wish=wish,
        prompt_column=prompt_column,
        domain_column=domain_column,
        gold=gold,
        prices=tuple(price or ()),
        max_usd=max_usd,
        limit=limit,
        concurrency=concurrency,
        retries=retries,
        timeout_s=timeout_s,
        yes=yes,
        dry_run=dry_run,
    )
    raise typer.Exit(run(label_verb(order)))


@app.command("cache-eval")
def cache_eval(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="file or folder of labelled questions or pairs: CSV, JSON, JSONL; repeatable"),
    ],
    *,
    embedder: _EMBEDDER = None,
    embedder_path: _EMBEDDER_PATH = None,
    verifier: Annotated[
        str,
        typer.Option("--verifier", help="crossed (trained on other intents on the way), shipped, rules, or a file"),
    ] = "crossed",
    error_rate: Annotated[
        float, typer.Option("--error-rate", min=0.002, max=0.1, help="wrong answers, as a share of all requests")
    ] = 0.01,
    each: Annotated[
        list[int] | None, typer.Option("--each", min=1, help="entries kept of each intent; repeatable")
    ] = None,
    folds: Annotated[int, typer.Option("--folds", min=2, max=20, help="parts that the intents are divided into")] = 3,
    repeats: Annotated[int, typer.Option("--repeats", min=1, max=50, help="do it so often, divided anew")] = 2,
    quick: Annotated[bool, typer.Option("--quick", help="look-ups alone, on less; to see that it works")] = False,
    plot: Annotated[
        Path | None, typer.Option("--plot", help="PNG file; an SVG comes beside it. Needs the extra lab")
    ] = None,
    output: Annotated[Path | None, typer.Option("--json", help="JSON file for all figures and curves")] = None,
    seed: _SEED = 0,
) -> None:
    """Measure what likeness gives on labelled questions: hits and wrong answers over thresholds, with and without each guard."""
    from dispatcher.lab.cache.evaluate import Wish  # noqa: PLC0415  # see the module
    from dispatcher.lab.cache.learning import Plan  # noqa: PLC0415  # as above
    from dispatcher.lab.cache.verbs import eval_verb  # noqa: PLC0415  # as above
    from dispatcher.lab.embedding import chosen  # noqa: PLC0415  # as above

    plan = Plan(scopes=24, asked=60, inner=2, seed=seed) if quick else Plan(inner=2, scopes=80, seed=seed)
    wish = Wish(
        folds=folds,
        repeats=1 if quick else repeats,
        each=tuple(each or (1, 5)),
        error_rate=error_rate,
        streams=not quick,
        sizes=not quick,
        plan=plan,
        seed=seed,
    )
    _run(lambda: eval_verb(data, chosen(embedder, embedder_path), verifier, wish, plot=plot, output=output))


@app.command("train-verifier")
def train_verifier(
    data: Annotated[
        list[Path],
        typer.Option("--data", help="file or folder of labelled questions or pairs, or of the mode shadow; repeatable"),
    ],
    *,
    output: Annotated[Path, typer.Option("--out", "--output", "-o", help=".npz file; its card goes beside it")] = Path(
        ".drover/cache/verifier.npz"
    ),
    embedder: _EMBEDDER = None,
    embedder_path: _EMBEDDER_PATH = None,
    evaluation: Annotated[
        bool,
        typer.Option("--eval/--no-eval", help="judge the recipe on intents that are held back, beside plain cosine"),
    ] = True,
    scopes: Annotated[
        int, typer.Option("--scopes", min=4, max=10_000, help="scopes that are drawn to learn from")
    ] = 120,
    seed: _SEED = 0,
) -> None:
    """Train what judges two questions that are alike, and calibrate it to error rates."""
    from dispatcher.lab.cache.learning import Plan  # noqa: PLC0415  # see the module
    from dispatcher.lab.cache.verbs import train_verb  # noqa: PLC0415  # as above
    from dispatcher.lab.embedding import chosen  # noqa: PLC0415  # as above

    plan = Plan(scopes=scopes, seed=seed)
    _run(lambda: train_verb(data, chosen(embedder, embedder_path), output, plan, evaluation=evaluation))


def _source(
    labels: Path,
    embedder: tuple[_Tier | None, Path | None],
    vectors: Path | None,
    column: list[str] | None,
    *,
    identity: str | None = None,
    head_chars: int = 80,
) -> Source:
    from dataclasses import fields  # noqa: PLC0415  # as above

    from dispatcher.lab.embedding import chosen  # noqa: PLC0415  # as above
    from dispatcher.lab.router.labels import Columns  # noqa: PLC0415  # as above
    from dispatcher.lab.router.verbs import Source  # noqa: PLC0415  # as above

    known = {field.name for field in fields(Columns)}
    named = {}
    for pair in column or []:
        ours, equals, theirs = pair.partition("=")
        if ours not in known or not equals or not theirs:
            raise typer.BadParameter(
                f"--column {pair!r}: give ours=theirs, with one of {', '.join(sorted(known))} as ours"
            )
        named[ours] = theirs
    return Source(
        labels=labels,
        columns=Columns(**named),
        embedder=chosen(*embedder),
        vectors=vectors,
        identity=identity,
        head_chars=head_chars,
    )


def _run(work: Callable[[], str]) -> None:
    from common.errors import FleetError  # noqa: PLC0415  # as above
    from dispatcher.cli.running import fail  # noqa: PLC0415  # as above

    try:
        sys.stdout.write(work() + "\n")
    except FleetError as error:
        raise typer.Exit(fail(error)) from error
