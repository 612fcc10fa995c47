"""All commands and their options, as Typer reads them. Each command loads its own work when it is called."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

import typer

from omni.cli import config_app, replay_app, service_app, token_app
from omni.cli.context import Context
from omni.cli.examples import help_of
from omni.cli.exits import INTERRUPTED, MEANINGS
from omni.cli.typed import context_of
from omni.cli.usage import usage_error, walk

EPILOG = (
    "Before or after any command: --json, --data-dir, --config, --host, --port. Environment: OMNI_DATA_DIR, "
    "OMNI_CONFIG, OMNI_HOST, OMNI_PORT, NO_COLOR. Exit codes: "
    + ", ".join(f"{code} {what}" for code, what in MEANINGS.items())
    + "."
)
_OPTIONS: dict[str, Any] = {
    "rich_markup_mode": None,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"], "max_content_width": 100},
}
UsageError: type[Any] = typer.BadParameter.__mro__[1]
ClickException: type[Any] = UsageError.__mro__[1]

app = typer.Typer(
    help="Omni: hands tasks to executors, keeps going when things fail, and can say why.",
    epilog=EPILOG,
    no_args_is_help=True,
    **_OPTIONS,
)
task_app = typer.Typer(help="Look at one task, or change it.", no_args_is_help=True, **_OPTIONS)

TaskId = Annotated[str, typer.Argument(metavar="ID", help="The task's id, or the beginning that `omni tasks` shows.")]
Wait = Annotated[
    str | None,
    typer.Option("--wait", metavar="[S]", help="Follow the task to its end, for at most S seconds when S is given."),
]


class State(StrEnum):
    """The states that `tasks --state` takes."""

    idle = "idle"
    dispatching = "dispatching"
    executing = "executing"
    waiting = "waiting"
    completed = "completed"
    failed = "failed"
    cancelled = "cancelled"
    held = "held"


class Verdict(StrEnum):
    """What a person can decide about a held task."""

    retry = "retry"
    accept = "accept"
    fail = "fail"


class Level(StrEnum):
    """The levels of log lines, least first."""

    debug = "debug"
    info = "info"
    warning = "warning"
    error = "error"


class Wish(StrEnum):
    """What a person can say about the mode."""

    auto = "auto"
    brainstem = "brainstem"


class Bill(StrEnum):
    """What `costs --by` takes."""

    model = "model"
    tier = "tier"
    executor = "executor"
    task = "task"
    day = "day"
    channel = "channel"


class Fault(StrEnum):
    """What a drill breaks."""

    proxy_down = "proxy-down"
    proxy_hang = "proxy-hang"
    cloud_down = "cloud-down"
    rate_limit = "rate-limit"
    quota = "quota"
    kill = "kill"
    soak = "soak"
    none = "none"


class Shell(StrEnum):
    """The shells that completion is made for."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"


def run(context: Context, words: list[str]) -> int:
    """Run a command line that has lost its global options. Raises OmniError."""
    command = command_tree()
    try:
        code = command.main(args=words, prog_name="omni", standalone_mode=False, obj=context)
    except typer.Abort:
        return INTERRUPTED
    except ClickException as error:
        raise usage_error(error, command, words) from None
    return code if isinstance(code, int) else 0


def command_tree() -> Any:
    """The parser of everything."""
    command = typer.main.get_command(app)
    # Typer brings the answering side of shell completion only together with two options that we do not offer.
    command.params = [p for p in command.params if p.name not in {"install_completion", "show_completion"}]
    for path, found in walk(command):
        found.epilog = help_of(path)
    return command


@app.callback()
def options(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    data_dir: Annotated[
        str | None, typer.Option("--data-dir", metavar="DIR", help="Where log, token and files are.")
    ] = None,
    config: Annotated[str | None, typer.Option("--config", metavar="FILE", help="The configuration file.")] = None,
    host: Annotated[str | None, typer.Option("--host", metavar="HOST", help="The daemon's address.")] = None,
    port: Annotated[int | None, typer.Option("--port", metavar="PORT", help="The daemon's port.")] = None,
) -> None:
    """Shown in the help and in completion only: `arguments.split` has taken these options before."""


@app.command()
def serve(
    ctx: typer.Context,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Start although the log has lost acknowledged events.")
    ] = False,
) -> int:
    """Run the daemon in the foreground."""
    from omni.cli import admin

    return admin.serve(context_of(ctx), accept_loss=accept_loss)


@app.command()
def submit(
    ctx: typer.Context,
    text: Annotated[str, typer.Argument(metavar="TEXT|-|@FILE", help="The task; - reads stdin, @FILE a file.")],
    wait: Wait = None,
    type_: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="coding, general, gpu, …; left out: guessed.")
    ] = None,
    executor: Annotated[str | None, typer.Option(metavar="NAME", help="Who shall do it.")] = None,
    tier: Annotated[str | None, typer.Option(metavar="NAME", help="The model tier.")] = None,
    model: Annotated[str | None, typer.Option(metavar="NAME", help="The model.")] = None,
    priority: Annotated[int | None, typer.Option(min=0, max=9, metavar="0-9", help="9 goes first; 5 is usual.")] = None,
    budget_usd: Annotated[float | None, typer.Option(min=0, metavar="USD", help="The most it may cost.")] = None,
    workdir: Annotated[str | None, typer.Option(metavar="DIR", help="Where it works.")] = None,
    session: Annotated[str | None, typer.Option(metavar="ID", help="The executor session to go on from.")] = None,
    timeout_s: Annotated[
        float | None, typer.Option("--timeout-s", metavar="S", help="The longest one attempt may take.")
    ] = None,
    key: Annotated[str | None, typer.Option(metavar="KEY", help="The same key never makes two tasks.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="WORD", help="A label; may be given several times.")
    ] = None,
    reply_to: Annotated[
        str | None, typer.Option(metavar="CHANNEL:TARGET", help="The chat that hears how it ends, as telegram:42.")
    ] = None,
) -> int:
    """Hand in a task; prints its id once it is safely stored."""
    from omni.cli import tasks

    given = {
        "type": type_,
        "executor": executor,
        "tier": tier,
        "model": model,
        "priority": priority,
        "budget_usd": budget_usd,
        "workdir": workdir,
        "session": session,
        "timeout_s": timeout_s,
        "idempotency_key": key,
        "labels": label or None,
        "reply_to": reply_to,
    }
    return tasks.submit(context_of(ctx), text, wait, given)


@app.command("tasks")
def list_tasks(
    ctx: typer.Context,
    state: Annotated[State | None, typer.Option(help="Only tasks in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=500, metavar="N", help="How many.")] = 20,
    cursor: Annotated[str | None, typer.Option(metavar="ID", help="Where the page before ended.")] = None,
) -> int:
    """List tasks, newest first."""
    from omni.cli import looking

    return looking.tasks(context_of(ctx), str(state) if state else None, limit, cursor)


@task_app.command()
def show(ctx: typer.Context, task: TaskId) -> int:
    """Show a task with its attempts and result."""
    from omni.cli import looking

    return looking.show(context_of(ctx), task)


@task_app.command()
def tail(ctx: typer.Context, task: TaskId) -> int:
    """Follow what happens to a task until its end."""
    from omni.cli import looking

    return looking.tail(context_of(ctx), task)


@task_app.command()
def cancel(ctx: typer.Context, task: TaskId) -> int:
    """Stop a task."""
    from omni.cli import tasks

    return tasks.cancel(context_of(ctx), task)


@task_app.command()
def retry(ctx: typer.Context, task: TaskId, wait: Wait = None) -> int:
    """Try a task again; one that has ended becomes a new task."""
    from omni.cli import tasks

    return tasks.retry(context_of(ctx), task, wait)


@task_app.command()
def resolve(
    ctx: typer.Context,
    task: TaskId,
    decision: Annotated[Verdict, typer.Argument(help="Try again, count as done, or give up.")],
) -> int:
    """Decide about a held task."""
    from omni.cli import tasks

    return tasks.resolve(context_of(ctx), task, str(decision))


@app.command()
def why(
    ctx: typer.Context,
    task: TaskId,
    at: Annotated[str | None, typer.Option(metavar="P|T", help="As of a position, a time, or 2h ago.")] = None,
) -> int:
    """Say why a task went where it went. Also why not to others, and what would have led elsewhere."""
    from omni.cli import looking

    return looking.why(context_of(ctx), task, at)


@app.command()
def status(
    ctx: typer.Context,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Look again every second.")] = False,
) -> int:
    """Show mode, executors and task counts."""
    from omni.cli import status as room

    return room.watch(context_of(ctx)) if watch else room.run(context_of(ctx))


@app.command()
def mode(
    ctx: typer.Context,
    wish: Annotated[
        Wish | None, typer.Argument(metavar="[auto|brainstem]", help="Suspend by hand, or let health decide again.")
    ] = None,
) -> int:
    """Show the mode, or suspend all that needs the cloud by hand."""
    from omni.cli import mode as room

    return room.run(context_of(ctx), str(wish) if wish else None)


@app.command()
def dashboard(
    ctx: typer.Context,
    opened: Annotated[bool, typer.Option("--open", help="Open it in a browser of this machine.")] = False,
) -> int:
    """Print a link that logs a browser in to the dashboard, once."""
    from omni.cli import dashboard as room

    return room.run(context_of(ctx), opened=opened)


@app.command()
def costs(
    ctx: typer.Context,
    by: Annotated[Bill, typer.Option(help="What to add up by.")] = Bill.model,
    since: Annotated[
        str | None, typer.Option(metavar="T", help="Only calls from then on: 7d, 12h, a date, or a date and time.")
    ] = None,
) -> int:
    """Show what model calls cost, from the log."""
    from omni.cli import costs as room

    return room.run(context_of(ctx), str(by), since)


@app.command("what-if")
def what_if(
    ctx: typer.Context,
    since: Annotated[
        str | None, typer.Option(metavar="P|T", help="In force from then on: a position, 7d, 12h, a date, a time.")
    ] = None,
    to: Annotated[str | None, typer.Option(metavar="P|T", help="And up to then.")] = None,
) -> int:
    """Try another configuration (--config FILE) on the record. Nothing is sent, and nothing changes."""
    from omni.cli import what_if as room

    return room.run(context_of(ctx), since, to)


@app.command()
def logs(
    ctx: typer.Context,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    count: Annotated[int, typer.Option("--lines", "-n", min=0, metavar="N", help="How many of the last lines.")] = 50,
    level: Annotated[Level, typer.Option(help="That level and above.")] = Level.debug,
    task: Annotated[str | None, typer.Option(metavar="ID", help="Only lines about this task.")] = None,
) -> int:
    """Print the daemon's log."""
    from omni.cli import logfile

    return logfile.run(context_of(ctx), follow=follow, count=count, level=str(level), task=task)


@app.command()
def init(
    ctx: typer.Context,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write the configuration without asking.")] = False,
    openclaw: Annotated[bool, typer.Option("--openclaw", help="Register Omni with OpenClaw.")] = False,
    stdio: Annotated[
        bool, typer.Option("--stdio", help="Let OpenClaw start the bridge `omni mcp`, in place of HTTP with a token.")
    ] = False,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; without this the command for it is printed.")] = False,
    force: Annotated[bool, typer.Option("--force", help="With --apply: replace another entry of the name.")] = False,
) -> int:
    """Look around and write a first configuration. Prints the lines that make Omni known to its clients."""
    from omni.cli import init as room

    return room.run(context_of(ctx), yes=yes, openclaw=openclaw, stdio=stdio, apply=apply, force=force)


@app.command()
def doctor(
    ctx: typer.Context,
    fix: Annotated[bool, typer.Option("--fix", help="Mend what can be mended safely: modes, directories, …")] = False,
) -> int:
    """Look for what is wrong, and say which command mends it."""
    from omni.cli import doctor as room

    return room.run(context_of(ctx), fix=fix)


@app.command()
def mcp(ctx: typer.Context) -> int:
    """Speak MCP on stdin and stdout. For clients that know nothing else; outlives restarts of the daemon."""
    from omni.cli import admin

    return admin.mcp(context_of(ctx))


@app.command()
def verify(
    ctx: typer.Context,
    everything: Annotated[
        bool, typer.Option("--all", help="Also decide again what an earlier check has decided again.")
    ] = False,
) -> int:
    """Check the whole event log. Hashes, order, the rules of every task, and every decision by deciding it again."""
    from omni.cli import admin

    return admin.verify(context_of(ctx), everything=everything)


@app.command()
def backup(
    ctx: typer.Context,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where the copy goes; must not exist yet.")],
) -> int:
    """Copy the event log while the daemon runs, and verify the copy."""
    from omni.cli import admin

    return admin.backup(context_of(ctx), file)


@app.command()
def drill(
    ctx: typer.Context,
    fault: Annotated[
        Fault, typer.Argument(help="What breaks; soak: all of it by chance; none: end a drill in the running daemon.")
    ],
    live: Annotated[
        bool, typer.Option("--live", help="In the daemon that runs, in place of one that is thrown away.")
    ] = False,
    seconds: Annotated[
        float | None, typer.Option(min=1, max=300, metavar="S", help="How long the fault lasts.")
    ] = None,
    with_calls: Annotated[
        bool, typer.Option("--with-calls", help="With --live: make a model call of its own, which may cost something.")
    ] = False,
    sure: Annotated[bool, typer.Option("--yes", "-y", help="With --live: do not ask.")] = False,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=1440, metavar="N", help="With soak: how long; 10 without it.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, metavar="S", help="With soak: draw the same faults as another soak did.")
    ] = None,
) -> int:
    """Break something on purpose, and measure it. The work goes on meanwhile, and figures say what it felt."""
    from omni.cli import drill as room
    from omni.cli import soak

    if soak.is_meant(str(fault), minutes, seed, others=live or with_calls or seconds is not None):
        return soak.run(context_of(ctx), minutes, seed)
    return room.run(context_of(ctx), str(fault), live=live, seconds=seconds, with_calls=with_calls, sure=sure)


@app.command()
def completion(ctx: typer.Context, shell: Annotated[Shell, typer.Argument(help="The shell.")]) -> int:
    """Print a completion script: eval "$(omni completion bash)"."""
    from omni.cli import admin

    return admin.completion(context_of(ctx), str(shell))


@app.command()
def version(ctx: typer.Context) -> int:
    """Print the versions of Omni and of what it stands on."""
    from omni.cli import admin

    return admin.version(context_of(ctx))


replay_app.add_to(app, _OPTIONS)
service_app.add_to(app, _OPTIONS)
app.add_typer(task_app, name="task")
token_app.add_to(app, _OPTIONS)
config_app.add_to(app, _OPTIONS)
