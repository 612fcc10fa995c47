"""OpenClaw's Gateway on loopback: a WebSocket server that speaks recorded frames (`tests/data/peers/openclaw.json`).

It runs on the loop of whoever opens it, and keeps apart what a restart keeps (sessions, tasks, ledger, pairings) and
what it forgets (keys of requests, running work). The task's text says what the agent does:

    [[slow:S]]   works for S seconds, in steps that are told        [[tool:NAME]]  uses a tool first
    [[hang]]     never ends                                         [[fail:WORDS]] the provider fails in these words

`ran` lists every time that the agent really worked on something; `messages` what really reached the channel.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import re
import uuid
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from tests.torture.daemon_process import free_port
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

Json = dict[str, Any]
RECORDED: Json = json.loads((Path(__file__).parents[1] / "data" / "peers" / "openclaw.json").read_text("utf-8"))
MARK = re.compile(r"\[\[(\w+)(?::(.*?))?\]\]")
STEP_S = 0.05
LOST = "Task execution process exited before restart."
RECOVERY = "main_session_restart_recovery"
TOKEN = "a-gateway-token-of-a-test"
NEWER = frozenset({"tasks.list", "sessions.abort", "conversations.list", "conversations.send"})  # unknown in protocol 3


def frame(name: str, **payload: Any) -> Json:
    """A recorded frame, with some of its payload changed."""
    found: Json = json.loads(json.dumps(RECORDED[name]))
    return found | {"payload": {**found.get("payload", {}), **payload}}


def answer(name: str, **change: Any) -> Json:
    """A recorded payload."""
    found: Json = json.loads(json.dumps(RECORDED[name]))
    return found | change


class Refusal(Exception):
    def __init__(self, error: Json, payload: Json | None = None) -> None:
        super().__init__(str(error.get("message")))
        self.error = error
        self.payload = payload


class FakeGateway:
    """One state directory and one port; the process in it comes and goes by `up`, `kill` and `restart`."""

    def __init__(self) -> None:
        self.port = free_port()
        self.token = TOKEN
        self.protocol = 4  # or 3: as in February 2026, stricter in `connect` and with fewer methods
        self.pairing = False  # whether only paired devices may come in
        self.garbage = False  # whether nonsense comes before each answer
        self.recovers_after_s: float | None = 0.2  # after a start; None: runs that were cut off stay lost
        self.wait_before_answer_s = 0.0
        self.channel = "ok"  # or: queued, hang (the channel takes it, and nobody hears of it)
        self.busy: set[str] = set()  # methods that cannot be answered just now
        self.paired: set[str] = set()
        self.asked_to_pair: dict[str, str] = {}  # request id -> device id
        self.tasks: dict[str, list[Json]] = {}  # by session, oldest first
        self.history: dict[str, list[Json]] = {}
        self.ledger: dict[str, str] = {}
        self.chats: set[str] = set()
        self.ran: list[tuple[str, str]] = []  # (session, run id)
        self.messages: list[tuple[str, str]] = []  # (to, text)
        self.requests: list[tuple[str, Json]] = []
        self.boot_id = ""
        self._server: Server | None = None
        self._memory = _Memory()
        self._news = asyncio.Condition()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def up(self) -> FakeGateway:
        self.boot_id, self._memory = str(uuid.uuid4()), _Memory()
        self._server = await serve(self._speak, "127.0.0.1", self.port, compression=None, ping_interval=None)
        if self.recovers_after_s is not None:
            self._memory.begin(self._recover())
        return self

    async def kill(self) -> None:
        """As SIGKILL: sockets are cut, and what ran is cut off without a word."""
        assert self._server is not None
        for each in list(self._server.connections):
            each.transport.abort()
        self._server.close()
        await self._server.wait_closed()
        await self._memory.end()
        self._server = None

    async def restart(self) -> None:
        await self.kill()
        await self.up()

    def drop(self) -> None:
        """Cut every connection; what runs goes on."""
        assert self._server is not None
        for each in list(self._server.connections):
            each.transport.abort()

    def approve(self, request_id: str) -> None:
        self.paired.add(self.asked_to_pair.pop(request_id))

    def forget_devices(self) -> None:
        """As when a person removes every device: their tokens open nothing, and their sockets are cut."""
        self.paired.clear()
        self.drop()

    def calls(self, method: str) -> list[Json]:
        """The parameters of every request of that method."""
        return [params for name, params in self.requests if name == method]

    async def until_asked(self, method: str, within_s: float = 20) -> None:
        """Return when a request of that method has come."""
        async with asyncio.timeout(within_s), self._news:
            await self._news.wait_for(lambda: bool(self.calls(method)))

    # --- the protocol

    async def _speak(self, socket: ServerConnection) -> None:
        nonce = str(uuid.uuid4())
        with contextlib.suppress(ConnectionClosed):
            await socket.send(json.dumps(frame("challenge", nonce=nonce)))
            greeted = await self._greet(socket, nonce)
            async for data in socket:
                if greeted:
                    self._memory.begin(self._serve(socket, json.loads(data)))

    async def _greet(self, socket: ServerConnection, nonce: str) -> bool:
        asked = json.loads(await socket.recv())
        try:
            hello = self._admitted(asked["params"], nonce)
        except Refusal as refusal:
            await socket.send(json.dumps({"type": "res", "id": asked["id"], "ok": False, "error": refusal.error}))
            await socket.close(1008, str(refusal)[:100])
            return False
        self._memory.sockets.add(socket)
        await socket.send(json.dumps(hello | {"id": asked["id"]}))
        return True

    def _admitted(self, params: Json, nonce: str) -> Json:
        if not params["minProtocol"] <= self.protocol <= params["maxProtocol"]:
            details = {"expectedProtocol": self.protocol}
            raise Refusal({"code": "INVALID_REQUEST", "message": "protocol mismatch", "details": details})
        auth = params["auth"]
        if self.protocol == 3 and auth.keys() - {"token", "password"}:
            raise Refusal(
                {"code": "INVALID_REQUEST", "message": "invalid connect params: at /auth: unexpected property"}
            )
        device = _verified(params, nonce, self.protocol) if self.pairing else ""
        known = {self.token, *(_device_token(each) for each in self.paired if each == device)}
        if not known & {auth.get("token"), auth.get("deviceToken")}:
            raise Refusal(answer("error.token"))
        if self.pairing and device not in self.paired:
            raise Refusal(self._ask_to_pair(device))
        return self._hello(params["scopes"], _device_token(device) if device else "")

    def _hello(self, scopes: list[str], device_token: str) -> Json:
        hello = frame("hello", protocol=self.protocol)
        hello["payload"]["server"]["bootId"] = self.boot_id
        hello["payload"]["auth"]["scopes"] = scopes
        if device_token:
            hello["payload"]["auth"]["deviceToken"] = device_token
        if self.protocol == 3:
            del hello["payload"]["server"]["bootId"]
        return hello

    def _ask_to_pair(self, device: str) -> Json:
        known = {id_: request for request, id_ in self.asked_to_pair.items()}
        request = known.get(device) or str(uuid.uuid4())
        self.asked_to_pair[request] = device
        details = {"requestId": request} | ({"code": "PAIRING_REQUIRED"} if self.protocol > 3 else {})
        return {"code": "NOT_PAIRED", "message": "pairing required", "details": details}

    async def _serve(self, socket: ServerConnection, asked: Json) -> None:
        id_, method, params = asked["id"], asked["method"], asked["params"]
        async with self._news:
            self.requests.append((method, params))
            self._news.notify_all()
        methods: dict[str, Callable[..., Any]] = {
            "agent.wait": self._wait, "tasks.list": self._tasks, "chat.history": self._history,
            "sessions.abort": self._abort, "send": self._send, "conversations.list": self._conversations,
            "conversations.send": self._ledgered, "chat.abort": self._abort_chat,
        }  # fmt: skip

        async def say(**more: Any) -> None:
            with contextlib.suppress(ConnectionClosed):
                if self.garbage:
                    await socket.send("no JSON at all {")
                    await socket.send(json.dumps({"type": "res", "id": "another", "ok": "maybe"}))
                await socket.send(json.dumps({"type": "res", "id": id_, **more}))

        await asyncio.sleep(self.wait_before_answer_s)
        try:
            self._check_busy(method)
            if method == "agent":
                await self._agent(params, say)
            else:
                known = {} if self.protocol == 3 and method in NEWER else methods
                await say(ok=True, payload=await known.get(method, _unknown(method))(params))
        except Refusal as refusal:
            more = {"payload": refusal.payload} if refusal.payload else {}
            await say(ok=False, error=refusal.error, **more)

    def _check_busy(self, method: str) -> None:
        if method in self.busy:
            raise Refusal({"code": "UNAVAILABLE", "message": "temporarily unavailable"})

    async def _tell(self, event: Json) -> None:
        for each in list(self._memory.sockets):
            with contextlib.suppress(ConnectionClosed):
                await each.send(json.dumps(event))

    # --- runs

    async def _agent(self, params: Json, say: Callable[..., Any]) -> None:
        session, key = params["sessionKey"], params["idempotencyKey"]
        if session.split(":")[1] != params["agentId"] or params["agentId"] != "main":
            raise Refusal(answer("error.agent"))
        work = self._memory.runs.get(key)
        if work is None and self._has_heard(session, key):
            await say(ok=True, payload=_incomplete(key))
            return
        if work is None:
            message = {"role": "user", "content": params["message"], "idempotencyKey": f"{key}:user"}
            self.history.setdefault(session, []).append(message)
            work = self._start(session, key, params["message"])
        await say(ok=True, payload=frame("accepted", runId=key, sessionKey=session)["payload"])
        ended = await asyncio.shield(work)
        await say(**{name: ended[name] for name in ("ok", "payload", "error") if name in ended})

    def _has_heard(self, session: str, key: str) -> bool:
        """Whether the session knows that key from before the start: such a request is refused."""
        return any(each.get("idempotencyKey") == f"{key}:user" for each in self.history.get(session, []))

    def _start(self, session: str, run: str, message: str) -> asyncio.Task[Json]:
        task = answer("tasks.list")["tasks"][0]
        task |= {"runId": run, "sourceId": run, "status": "running", "sessionKey": session, "title": message[:80]}
        task |= {"execution": {"state": "running"}, "createdAt": len(self.ran) + 1}
        self.tasks.setdefault(session, []).append(task)
        self.ran.append((session, run))
        work = self._memory.begin(self._work(session, run, message, task))
        self._memory.runs[run] = work
        self._memory.active[run] = (session, work)
        return work

    async def _work(self, session: str, run: str, message: str, task: Json) -> Json:
        try:
            kind, what = _mark(message)
            words = await self._steps(session, run, kind, what)
        except asyncio.CancelledError:
            if run not in self._memory.aborted:
                raise
            task |= {"status": "cancelled", "error": "This operation was aborted"}
            return frame("final.aborted", runId=run)
        finally:
            self._memory.active.pop(run, None)
        if kind == "fail":
            task |= {"status": "failed", "error": words}
            ended = frame("final.failed", runId=run, summary=words)
            return ended | {"error": {"code": "UNAVAILABLE", "message": words}}
        task |= {"status": "completed", "execution": {"state": "finished"}}
        said = {"role": "assistant", "content": [{"type": "text", "text": words}], "stopReason": "stop"}
        self.history.setdefault(session, []).append(said)
        ended = frame("final", runId=run)
        ended["payload"]["result"]["payloads"] = [{"text": words, "mediaUrl": None}]
        return ended

    async def _steps(self, session: str, run: str, kind: str, what: str) -> str:
        await self._tell(_about("event.start", run, session))
        if kind == "tool":
            await asyncio.sleep(5 * STEP_S)
            event = _about("event.tool", run, session)
            event["payload"]["data"] |= {"name": what}
            await self._tell(event)
        if kind == "hang":
            await asyncio.Event().wait()
        for n in range(round(float(what) / STEP_S) if kind == "slow" else 1):
            event = _about("event.text", run, session)
            event["payload"]["data"] |= {"text": ". " * (n + 1)}
            await self._tell(event)
            await asyncio.sleep(STEP_S)
        return what if kind in {"fail", "text"} else f"done: {kind} {what}".strip()

    async def _recover(self) -> None:
        """What a gateway does some time after its start with runs that a crash has cut off."""
        cut_off = [(key, each[-1]) for key, each in self.tasks.items() if each[-1]["status"] == "running"]
        for _, task in cut_off:
            task |= {"status": "cancelled", "error": LOST}
        await asyncio.sleep(self.recovers_after_s or 0)
        for session, _ in cut_off:
            run = str(uuid.uuid4())
            first = next(each for each in self.history[session] if each["role"] == "user")
            told = {"role": "user", "content": "[System] interrupted", "idempotencyKey": f"{run}:user"}
            self.history[session].append(told | {"provenance": {"sourceTool": RECOVERY}})
            self._start(session, run, first["content"])

    async def _wait(self, params: Json) -> Json:
        run = params["runId"]
        work = self._memory.runs.get(run)
        if work is None:
            return answer("wait.timeout", runId=run)
        await asyncio.wait({work}, timeout=params["timeoutMs"] / 1000)
        if not work.done() or work.cancelled():
            return answer("wait.timeout", runId=run)
        ended = work.result()["payload"]
        if ended["status"] == "ok":
            reply = {"disposition": "visible", "text": ended["result"]["payloads"][0]["text"]}
            return answer("wait.ok", runId=run) | (
                {"terminalReply": reply} if self.protocol > 3 else {"terminalReply": None}
            )
        if ended["status"] == "error":
            return {"runId": run, "status": "error", "error": ended["summary"]}
        return answer("wait.aborted", runId=run)

    async def _tasks(self, params: Json) -> Json:
        if self.recovers_after_s is None:  # what a crash has cut off shows as such as soon as anybody looks
            for each in self.tasks.get(params["sessionKey"], []):
                if each["status"] == "running" and each["runId"] not in self._memory.runs:
                    each |= {"status": "cancelled", "error": LOST}
        return {"tasks": self.tasks.get(params["sessionKey"], [])}

    async def _history(self, params: Json) -> Json:
        messages = self.history.get(params["sessionKey"], [])[-params.get("limit", 50) :]
        if self.protocol == 3:
            messages = [{name: each[name] for name in each if name != "idempotencyKey"} for each in messages]
        return {"sessionKey": params["sessionKey"], "messages": messages}

    async def _abort(self, params: Json) -> Json:
        session, work = self._memory.active.get(params.get("runId", ""), ("", None))
        if work is None or session != params["key"]:
            return answer("abort.idle")
        self._memory.aborted.add(params["runId"])
        work.cancel()
        return answer("abort", abortedRunId=params["runId"])

    async def _abort_chat(self, params: Json) -> Json:
        """It knows the runs of `chat.send` only, and so none of ours."""
        return {"ok": True, "aborted": False, "runIds": []}

    # --- messages

    async def _send(self, params: Json) -> Json:
        key = params["idempotencyKey"]
        if key not in self._memory.sends:
            self._memory.sends[key] = await self._delivered(params["to"], params["message"])
            self.chats.add(params["to"])
            if params.get("sessionKey") and self._memory.sends[key] is None:
                mirror = {"role": "assistant", "content": params["message"], "idempotencyKey": key}
                self.history.setdefault(params["sessionKey"], []).append(mirror)
        if error := self._memory.sends[key]:
            raise Refusal(error)
        payload: Json = frame("send", runId=key, channel=params["channel"])["payload"]
        return payload

    async def _delivered(self, to: str, text: str) -> Json | None:
        if self.channel == "queued":
            return answer("error.queued")
        self.messages.append((to, text))
        if self.channel == "hang":
            await asyncio.Event().wait()
        return None

    async def _conversations(self, params: Json) -> Json:
        if params.get("limit", 0) > 100:
            words = "invalid conversations.list params: at /limit: must be <= 100"
            raise Refusal({"code": "INVALID_REQUEST", "message": words})
        one = RECORDED["conversations.list"]["conversations"][0]
        chats = [one | {"conversationRef": f"conv_{to}", "target": f"{one['channel']}:{to}"} for to in self.chats]
        return {"conversations": chats}

    async def _ledgered(self, params: Json) -> Json:
        key = params["operationId"]
        if key not in self.ledger:
            self.ledger[key] = "queued"
            error = await self._delivered(params["conversationRef"].removeprefix("conv_"), params["message"])
            self.ledger[key] = "queued" if error else "sent"
        return answer("ledger.sent", status=self.ledger[key])


class _Memory:
    """What a restart forgets."""

    def __init__(self) -> None:
        self.sockets: set[ServerConnection] = set()
        self.runs: dict[str, asyncio.Task[Json]] = {}
        self.active: dict[str, tuple[str, asyncio.Task[Json]]] = {}
        self.aborted: set[str] = set()
        self.sends: dict[str, Json | None] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    def begin(self, work: Any) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def end(self) -> None:
        tasks = list(self._tasks)
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _mark(message: str) -> tuple[str, str]:
    found = MARK.search(message)
    return (found[1], found[2] or "") if found else ("text", "Hello from the gateway.")


def _incomplete(run: str) -> Json:
    """What a run comes to whose key a restarted gateway finds in the middle of its transcript."""
    words = "Session transcript keyed user is outside the current turn"
    meta = {"error": {"kind": "incomplete_turn", "message": words}}
    result = {"payloads": [{"text": words, "isError": True}], "meta": meta}
    return {"runId": run, "status": "error", "summary": words, "result": result}


def _about(name: str, run: str, session: str) -> Json:
    return frame(name, runId=run, sessionKey=session)


def _unknown(method: str) -> Callable[..., Any]:
    async def refuse(params: Json) -> Json:
        raise Refusal({"code": "INVALID_REQUEST", "message": f"unknown method: {method}"})

    return refuse


def _device_token(device: str) -> str:
    return f"device-token-of-{device[:8]}"


def _verified(params: Json, nonce: str, protocol: int) -> str:
    """The id of a device whose signature is right; newer gateways take the older form as well."""
    device, client = params.get("device") or {}, params["client"]
    raw = _unpad(device["publicKey"])
    token = params["auth"].get("token") or params["auth"].get("deviceToken") or ""
    scopes = ",".join(params["scopes"])
    signed = [device["id"], client["id"], client["mode"], params["role"], scopes, str(device["signedAt"]), token, nonce]
    forms = ["|".join(["v2", *signed])] + (["|".join(["v3", *signed, client["platform"], ""])] if protocol > 3 else [])
    if not any(_is_signed(raw, _unpad(device["signature"]), each) for each in forms):
        raise Refusal({"code": "INVALID_REQUEST", "message": "device signature invalid"})
    assert device["id"] == hashlib.sha256(raw).hexdigest()
    assert device["nonce"] == nonce
    return str(device["id"])


def _is_signed(raw: bytes, signature: bytes, payload: str) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(raw).verify(signature, payload.encode())
    except InvalidSignature:
        return False
    return True


def _unpad(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


@contextlib.asynccontextmanager
async def fake_gateway() -> AsyncIterator[FakeGateway]:
    """A gateway that is up; nothing of it is left at the end."""
    gateway = await FakeGateway().up()
    try:
        yield gateway
    finally:
        if gateway._server is not None:
            await gateway.kill()
