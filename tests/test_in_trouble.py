"""`certstatus run` with an issuer of each kind of trouble beside a healthy one, and a store that is killed: what the
healthy one's clients are told, and what the operator sees."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509 import ocsp
from redis import Redis

from responder import metrics
from responder.embedded import EmbeddedPostgres
from responder.host.supervisor import MAX_CRASHES
from responder.pki import Issuer, encode_serial, make_issuer
from tests import der
from tests.commandline import free_port
from tests.killable import KillableValkey
from tests.makers import CA, make_ca, pem
from tests.storage.test_bad_rows import OLD_SCHEMA
from tests.web.test_tls import Files, put

T = TypeVar("T")

GOOD, REVOKED, OTHER = range(0x20, 0x28), range(0x30, 0x34), 0x50
IDS = ("well", "ed", "no-key", "junk-delegate", "junk-ca", "nameless", "junk-crl", "bad-rows")


@dataclass
class Site:
    """The processes, their stores and their CAs."""

    folder: Path
    postgres: EmbeddedPostgres
    store: KillableValkey
    public: str
    admin: str
    tls: str
    cas: dict[str, CA] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "responder", "run", "-c", str(self.folder / "certstatus.toml")],
                stderr=log,
                text=True,
            )

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "responder", *arguments],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env={**os.environ, "CERTSTATUS_CONFIG": str(self.folder / "certstatus.toml")},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def issuer(self, issuer_id: str) -> Issuer:
        return make_issuer(issuer_id, self.cas[issuer_id].der)

    def sql(self, *statements: str) -> None:
        async def execute() -> None:
            connection: asyncpg.Connection = await asyncpg.connect(self.postgres.url)
            for statement in statements:
                await connection.execute(statement)
            await connection.close()

        asyncio.run(execute())

    def value(self, query: str) -> object:
        async def fetch() -> object:
            connection: asyncpg.Connection = await asyncpg.connect(self.postgres.url)
            try:
                return await connection.fetchval(query)
            finally:
                await connection.close()

        return asyncio.run(fetch())

    def redis(self, use: Callable[[Redis], T]) -> T:
        redis = Redis.from_url(self.store.url)
        try:
            return use(redis)
        finally:
            redis.close()

    def request(self, issuer_id: str, *serials: int, nonce: bytes | None = None) -> bytes:
        issuer = self.issuer(issuer_id)
        name_hash, key_hash = issuer.cert_id_hashes[0]
        cert_ids = [der.cert_id("sha1", der.NULL, name_hash, key_hash, encode_serial(serial)) for serial in serials]
        extensions = b"" if nonce is None else der.extension(der.NONCE, nonce)
        return der.request(*cert_ids, extensions=extensions)

    def post(self, body: bytes) -> httpx.Response:
        return httpx.post(f"{self.public}/ocsp", content=body, trust_env=False, timeout=20)

    def ask(self, issuer_id: str, serial: int, **options: Any) -> str:
        answer = ocsp.load_der_ocsp_response(self.post(self.request(issuer_id, serial, **options)).content)
        if answer.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            return answer.response_status.name
        return answer.certificate_status.name

    def ready(self) -> tuple[int, dict[str, Any]]:
        response = httpx.get(f"{self.admin}/readyz?verbose", trust_env=False, timeout=20)
        return response.status_code, response.json()

    def metric(self, name: str) -> float:
        text = httpx.get(f"{self.admin}/metrics", trust_env=False, timeout=20).text
        return sum(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if re.match(rf"{name}(\{{| )", line))

    def crl(self, issuer_id: str) -> set[int]:
        response = httpx.get(f"{self.public}/crl/{issuer_id}.crl", trust_env=False, timeout=20)
        if response.status_code != 200:
            return set()
        return {entry.serial_number for entry in x509.load_der_x509_crl(response.content)}


def eventually(what: str, check: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except httpx.TransportError:
            pass
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def make_current_ca(common_name: str) -> CA:
    """Valid now, whenever that is."""
    made = make_ca("ec")
    now = datetime.now(UTC)
    name = x509.Name([] if common_name == "" else [x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1000))
        .sign(made.key, hashes.SHA256())
    )
    return CA(certificate, made.key)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("trouble")
    postgres = EmbeddedPostgres(folder, durable=False)
    postgres.start()
    with tempfile.TemporaryDirectory(prefix="cs") as short:
        store = KillableValkey(Path(short))
        site = Site(
            folder,
            postgres,
            store,
            f"http://127.0.0.1:{free_port()}",
            f"http://127.0.0.1:{free_port()}",
            f"127.0.0.1:{free_port()}",
        )
        store.start()
        try:
            prepare(site)
            site.start()
            eventually("the healthy issuer is answered for", lambda: site.ask("well", GOOD[0]) == "GOOD", 60)
            eventually("the store is trusted", lambda: site.metric("record_store_complete") == 1)
            yield site
            assert site.process is not None
            assert site.process.poll() is None, (folder / "log").read_text()
        finally:
            if site.process is not None:
                site.process.send_signal(signal.SIGTERM)
                site.process.wait(30)
            store.kill()
            postgres.stop()


def prepare(site: Site) -> None:
    """Issuers, certificates, and then what is wrong with some of them."""
    Files(site.folder)
    (site.folder / "keys").mkdir(mode=0o700)
    (site.folder / "token").touch(mode=0o600)
    (site.folder / "token").write_text("a-token-of-enough-characters")
    (site.folder / "certstatus.toml").write_text(
        f'[postgres]\nurl = "{site.postgres.url}"\n[redis]\nurl = "{site.store.url}"\n'
        f'[serve]\nlisten = "{site.public.removeprefix("http://")}"\nworkers = 2\n'
        f'tls_listen = "{site.tls}"\ntls_certificate = "tls.pem"\ntls_key = "tls.key"\n'
        "request_seconds = 1\n"
        f'[admin]\nlisten = "{site.admin.removeprefix("http://")}"\ntoken_file = "token"\n[keys]\ndirectory = "keys"\n'
    )
    site.run("db", "migrate")
    for issuer_id in IDS:
        ca = make_current_ca(f"CA {issuer_id}")
        site.cas[issuer_id] = ca
        (site.folder / f"{issuer_id}.pem").write_bytes(ca.certificate.public_bytes(serialization.Encoding.PEM))
        key = site.folder / f"{issuer_id}.key"
        key.touch(mode=0o600)
        key.write_bytes(pem(ca.key))
        kind = ["--algorithm", "ed25519"] if issuer_id == "ed" else []
        site.run(
            "issuer", "add", "--id", issuer_id, "--certificate", str(site.folder / f"{issuer_id}.pem"), "--ca-key",
            str(key), "--no-crl", *kind,
        )  # fmt: skip
    nameless = make_current_ca("")
    site.sql(
        OLD_SCHEMA,
        "UPDATE issuers SET crl_delay_seconds = 0",
        *(
            "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at, reason) VALUES "
            + ", ".join(
                f"('{issuer_id}', '\\x{serial:02x}', {serial in REVOKED}, "
                f"{'now()' if serial in REVOKED else 'NULL'}, {1 if serial in REVOKED else 'NULL'})"
                for serial in (*GOOD, *REVOKED)
            )
            for issuer_id in IDS
        ),
        "INSERT INTO certificates (issuer_id, serial, revoked, revoked_at) VALUES "
        "('bad-rows', '\\x7e', true, '1960-01-01Z'), ('bad-rows', '\\x0001', true, now()), "
        "('bad-rows', '\\x7f', true, '-infinity')",
        "UPDATE responder_certificates SET certificate = 'junk' WHERE issuer_id = 'junk-delegate'",
        "UPDATE issuers SET certificate = 'junk' WHERE id = 'junk-ca'",
        "INSERT INTO crls (issuer_id, scope, crl_number, der, this_update, next_update, snapshot) "
        "VALUES ('junk-crl', 'full', 1, 'junk', now(), now() - interval '1 s', pg_current_snapshot())",
        f"UPDATE issuers SET certificate = '\\x{nameless.der.hex()}' WHERE id = 'nameless'",
    )
    (site.folder / "keys" / "no-key.pem").unlink()
    path = site.folder / "keys" / "ca" / "nameless.pem"
    path.touch(mode=0o600)
    path.write_bytes(pem(nameless.key))


def revoke_by_sql(site: Site, issuer_id: str, serial: int) -> None:
    site.sql(
        "UPDATE certificates SET revoked = true, revoked_at = now(), reason = 1 "
        f"WHERE issuer_id = '{issuer_id}' AND serial = '\\x{serial:02x}'"
    )


def test_a_revocation_by_sql_reaches_the_healthy_ones_clients(site: Site) -> None:
    for issuer_id in ("well", "ed", "bad-rows"):
        eventually(f"{issuer_id} is answered for", lambda issuer_id=issuer_id: site.ask(issuer_id, GOOD[1]) == "GOOD")  # type: ignore[misc]
        revoke_by_sql(site, issuer_id, GOOD[1])
        eventually("revoked", lambda issuer_id=issuer_id: site.ask(issuer_id, GOOD[1]) == "REVOKED", 5)  # type: ignore[misc]
        eventually("on the CRL", lambda issuer_id=issuer_id: GOOD[1] in site.crl(issuer_id), 20)  # type: ignore[misc]
    # Nobody else says good for what is revoked.
    revoke_by_sql(site, "no-key", GOOD[1])
    eventually("on the CRL", lambda: GOOD[1] in site.crl("no-key"), 20)
    assert site.ask("no-key", GOOD[1]) == "TRY_LATER"


def test_the_operator_sees_who_is_in_trouble_and_nothing_is_started_again(site: Site) -> None:
    def in_trouble() -> set[str]:
        return {trouble["issuer_id"] for trouble in site.ready()[1]["troubles"]}

    eventually("all are named", lambda: {"junk-delegate", "junk-ca", "nameless", "junk-crl"} <= in_trouble())
    assert not {"well", "ed"} & in_trouble()
    eventually("ready", lambda: site.ready()[0] == 200)
    _, body = site.ready()
    assert body["degraded"]
    assert "db check" in body["checks"]["postgres"]["detail"]
    assert site.metric("issuer_trouble") > 0
    assert site.metric("process_restarts_total") == 0
    listed = subprocess.run(
        [sys.executable, "-m", "responder", "db", "check", "-c", str(site.folder / "certstatus.toml"), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert listed.returncode == 1
    assert {row["serial"] for row in json.loads(listed.stdout)} == {"7e", "0001", "7f"}
    for line in (site.folder / "log").read_text().splitlines():
        assert "Traceback" not in line
        assert "background_task_failed" not in line


def test_a_store_killed_and_started_on_its_snapshot_brings_no_good_back(site: Site) -> None:
    eventually("the store is trusted", lambda: site.metric("record_store_complete") == 1)
    for serial in GOOD[2:6]:
        assert site.ask("well", serial) == "GOOD"
    site.redis(lambda redis: redis.save())
    for serial in GOOD[2:6]:
        site.run("revoke", hex(serial), "--issuer", "well", "--reason", "keyCompromise")
        assert site.ask("well", serial) == "REVOKED"
    eventually("everything is signed", lambda: site.metric("outbox_open") == 0)
    untrusted = site.metric("store_untrusted_total")
    site.store.kill()
    for serial in GOOD[2:6]:
        assert site.ask("well", serial) == "REVOKED", "from the database"
    site.store.start()
    seen = {site.ask("well", serial) for _ in range(20) for serial in GOOD[2:6]}
    assert seen == {"REVOKED"}
    eventually("the store is trusted again", lambda: site.ready()[0] == 200)
    assert site.metric("record_store_complete") == 1
    assert {site.ask("well", serial) for serial in GOOD[2:6]} == {"REVOKED"}
    assert site.metric("store_untrusted_total") >= untrusted


def processes(site: Site, name: str) -> list[int]:
    assert site.process is not None
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    return [int(pid) for pid in children if Path(f"/proc/{pid}/comm").read_text().startswith(name)]


@dataclass
class Asked:
    """What clients that never pause were told."""

    answered: int = 0
    lost: list[str] = field(default_factory=list)


@contextmanager
def asking_all_the_time(site: Site, *, clients: int = 10) -> Iterator[Asked]:
    """Clients with keep-alive connections, of what the table has and what it hasn't, while the block lasts."""
    asked, ended = Asked(), threading.Event()
    url = httpx.URL(site.public)
    bodies = [site.request("well", GOOD[0]), site.request("well", GOOD[1], GOOD[2])]

    async def client(number: int) -> None:
        reader, writer = await asyncio.open_connection(url.host, url.port)
        while not ended.is_set():
            body = bodies[number % 20 == 0]
            number += 1
            writer.write(f"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
            try:
                head = (await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 20)).lower()
                await reader.readexactly(int(head.partition(b"content-length: ")[2].partition(b"\r")[0]))
                asked.answered += 1
            except (OSError, EOFError, TimeoutError) as error:
                asked.lost.append(repr(error))
                head = b"connection: close"
            if b"connection: close" in head:
                writer.close()
                try:
                    reader, writer = await asyncio.open_connection(url.host, url.port)
                except ConnectionRefusedError:  # it has ended; nothing was asked
                    return
        writer.close()
        await writer.wait_closed()

    async def all_clients() -> None:
        await asyncio.gather(*map(client, range(clients)))

    thread = threading.Thread(target=asyncio.run, args=(all_clients(),))
    thread.start()
    try:
        yield asked
    finally:
        ended.set()
        thread.join()


def crash_until_made_anew(site: Site) -> None:
    before = site.metric("memory_renewals_total")
    for _ in range(MAX_CRASHES):
        eventually("there is one to crash", lambda: bool(processes(site, "serve-")))
        os.kill(processes(site, "serve-")[0], signal.SIGSEGV)
        time.sleep(0.7)  # the supervisor looks twice a second
    eventually("it is made anew", lambda: site.metric("memory_renewals_total") == before + 1)


def nonces_at_once(site: Site, issuer_id: str, serial: int, count: int) -> None:
    """On one connection, from a client that asks for nothing else."""
    asked = site.request(issuer_id, serial, nonce=b"\x04\x10" + bytes(16))
    head = f"POST /ocsp HTTP/1.1\r\nHost: x\r\nContent-Length: {len(asked)}\r\n\r\n".encode()
    url = httpx.URL(site.public)
    where, client_address = (url.host, url.port or 80), ("127.0.0.9", 0)
    with (
        socket.create_connection(where, timeout=20, source_address=client_address) as client,
        client.makefile("rb") as answers,
    ):
        threading.Thread(target=client.sendall, args=((head + asked) * count,), daemon=True).start()
        for _ in range(count):
            size = 0
            while line := answers.readline().strip():
                if line.lower().startswith(b"content-length:"):
                    size = int(line.partition(b":")[2])
            answers.read(size)


def test_what_is_imported_is_known_to_every_host_when_the_import_ends(site: Site) -> None:
    """Before that it was never issued, which memory alone says."""
    eventually("it says so", lambda: site.ask("well", 0x5A01) == "UNAUTHORIZED" and never_issued(site) > 0)
    for number in range(0x5A01, 0x5A06):
        assert site.ask("well", number) == "UNAUTHORIZED"
        index = site.folder / "index.txt"
        index.write_text(f"V\t351231235959Z\t\t{number:X}\tunknown\t/CN=x\n")
        site.run("import", "openssl-index", str(index), "--issuer", "well", "--force")
        assert site.ask("well", number) == "GOOD"


def never_issued(site: Site) -> float:
    return site.metric("ocsp_never_issued_total")


def test_every_counter_moves_under_the_traffic_that_it_counts(site: Site) -> None:
    well = site.issuer("well")
    # Answers of every kind.
    assert site.ask("well", REVOKED[0]) == "REVOKED"
    assert site.ask("well", GOOD[0], nonce=b"\x04\x10" + bytes(16)) == "GOOD"
    assert site.ask("well", 0x77) == "UNAUTHORIZED"
    assert site.post(b"junk").content.hex() == "30030a0101"
    site.post(site.request("well", GOOD[0], REVOKED[0]))
    assert httpx.get(f"{site.public}/favicon.ico", trust_env=False).status_code == 404
    assert httpx.get(site.public, headers={"X": "x" * 20_000}, trust_env=False).status_code == 431
    url = f"{site.public}/ocsp/{base64.b64encode(site.request('well', GOOD[0])).decode()}"
    assert httpx.get(url, trust_env=False).status_code == 200
    certificate, key = site.folder / "asker.pem", site.folder / "well.key"
    certificate.write_bytes(site.cas["well"].certificate.public_bytes(serialization.Encoding.PEM))
    subprocess.run(
        ["openssl", "ocsp", "-issuer", certificate, "-serial", hex(GOOD[0]), "-signer", certificate, "-signkey", key,
         "-reqout", site.folder / "signed.der", "-no_nonce"],
        check=True, capture_output=True,
    )  # fmt: skip
    site.post((site.folder / "signed.der").read_bytes())
    nonces_at_once(site, "well", GOOD[0], 1300)  # its limit is 1,000
    with socket.create_connection((httpx.URL(site.public).host, httpx.URL(site.public).port or 80), timeout=20) as slow:
        slow.sendall(b"POST /ocsp HTTP/1.1\r\n")
        assert slow.recv(1) == b"", "it is closed"
    # CRLs.
    crl = f"{site.public}/crl/well.crl"
    tag = httpx.get(crl, trust_env=False).headers["etag"]
    assert httpx.get(crl, headers={"If-None-Match": tag}, trust_env=False).status_code == 304
    assert httpx.get(f"{site.public}/crl/nobody.crl", trust_env=False).status_code == 404
    # Revocations, by the API and refused.
    token = {"Authorization": "Bearer a-token-of-enough-characters"}
    api = f"{site.admin}/api/v1/issuers/well/revocations"
    body = {"serial": hex(GOOD[7]), "reason": "superseded"}
    assert httpx.post(api, json=body, headers=token, trust_env=False).status_code == 200
    assert httpx.post(api, json=body, trust_env=False).status_code == 401
    assert httpx.post(api, json={"serial": "0x7777"}, headers=token, trust_env=False).status_code == 404
    certificates = f"{site.admin}/api/v1/issuers/well/certificates"
    assert httpx.post(certificates, json={"serial": "0x7778"}, headers=token, trust_env=False).status_code == 201
    assert site.ask("well", 0x7778) == "GOOD"
    # A damaged record, and a store that keeps what the database never gave.
    name = b"cs2:" + well.tag + encode_serial(GOOD[6])
    held = site.redis(lambda redis: redis.get(name))
    assert isinstance(held, bytes), "signed before anybody asks, and in no table yet"
    damaged = held[:70] + bytes([held[70] ^ 1]) + held[71:]  # in the signature of the first variant
    site.redis(lambda redis: redis.set(name, damaged))
    assert site.ask("well", GOOD[6]) == "GOOD"
    forged = held[:1] + (2**31).to_bytes(4, "big") + held[5:]
    site.redis(lambda redis: redis.set(name, forged))
    revoke_by_sql(site, "well", GOOD[6])
    eventually("the change is refused", lambda: site.metric("changes_refused_total") > 0)
    assert site.metric("outbox_open") > 0, "and stays open"
    site.redis(lambda redis: redis.delete(name))
    eventually("it is put when it can be", lambda: site.ask("well", GOOD[6]) == "REVOKED")
    # A record of before a change, in a store that has brought it back.
    old = b"cs2:" + well.tag + encode_serial(GOOD[5])
    before = site.redis(lambda redis: redis.get(old))
    assert isinstance(before, bytes)
    revoke_by_sql(site, "well", GOOD[5])
    eventually("the change is signed", lambda: site.redis(lambda redis: redis.get(old)) != before)
    site.redis(lambda redis: redis.set(old, before))
    assert site.ask("well", GOOD[5]) == "REVOKED"
    # A revocation that is yet to come, which no answer should say and each does.
    columns = "issuer_id, serial, revoked, revoked_at"
    site.sql(f"INSERT INTO certificates ({columns}) VALUES ('well', '\\x6100', true, now() + interval '1 day')")
    eventually("it is told", lambda: site.metric("answers_breaking_rules_total") > 0)
    assert site.ask("well", 0x6100) == "REVOKED"
    # Everything signed again, a worker that is killed, and a store that is away.
    site.run("issuer", "set", "well", "responder_id_by_name=true")
    eventually("signed on schedule", lambda: site.metric("presigned_total") > 0)
    os.kill(processes(site, "serve-1")[0], signal.SIGKILL)
    eventually("it is started again", lambda: site.metric("process_restarts_total") > 0)
    crash_until_made_anew(site)
    site.store.kill()
    new = range(0x6000, 0x6008)  # in no table
    for serial in new:
        site.sql(f"INSERT INTO certificates (issuer_id, serial) VALUES ('well', '\\x{serial:x}')")
    for serial in new:
        eventually("it is answered without the store", lambda serial=serial: site.ask("well", serial) == "GOOD")  # type: ignore[misc]
    revoke_by_sql(site, "well", GOOD[0])
    site.store.start()
    eventually("the store is trusted again", lambda: site.metric("record_store_complete") == 1)
    site.ask("bad-rows", 0x7E)

    text = httpx.get(f"{site.admin}/metrics", trust_env=False).text
    still = [
        metric.name
        for metric in metrics.METRICS
        if not re.search(
            rf"^{re.escape(metric.name)}(?:_count)?(?:\{{[^}}]*\}})? (?!0\.0$)[0-9.e+]+$", text, re.MULTILINE
        )
    ]
    assert re.search(r"^\w*table_taken_ratio \S+$", text, re.MULTILINE)
    # There is room for 30,000 and more; ocsp/test_keeper.py has it overflow.
    assert still == ["floors_overflown_total"]


def test_over_tls_the_same_is_answered_and_a_renewed_certificate_is_taken(site: Site) -> None:
    assert site.process is not None
    request, log = site.request("ed", GOOD[4]), site.folder / "log"

    def ask() -> tuple[bytes, int]:
        """The answer, and the number of the certificate that it came with."""
        context = ssl.create_default_context(cafile=str(site.folder / "tls.pem"))
        with (
            httpx.Client(verify=context, trust_env=False, timeout=20) as client,
            client.stream(
                "POST",
                f"https://localhost:{site.tls.rpartition(':')[2]}/ocsp",
                content=request,
                headers={"Content-Type": "application/ocsp-request"},
            ) as response,
        ):
            tls = response.extensions["network_stream"].get_extra_info("ssl_object")
            serial = x509.load_der_x509_certificate(tls.getpeercert(True)).serial_number
            return response.read(), serial

    eventually("it is the plain one's answer", lambda: ask() == (site.post(request).content, 1))
    files = Files(site.folder)  # another first certificate
    files.renew()
    eventually("both workers have taken it", lambda: {ask()[1] for _ in range(20)} == {2}, 20)
    # A key of another: refused, and everything goes on with the one before.
    _, other_key = files.make()
    put(files.key, other_key)
    refused = log.read_text().count("configuration_refused")
    os.kill(site.process.pid, signal.SIGHUP)
    eventually("it is refused", lambda: log.read_text().count("configuration_refused") > refused)
    assert "isn't the key of the certificate" in log.read_text()
    assert {ask() for _ in range(10)} == {(site.post(request).content, 2)}
    # Nor does a process that is started again need the files to go together.
    before = processes(site, "serve-1")
    os.kill(before[0], signal.SIGKILL)
    eventually("it is started again", lambda: processes(site, "serve-1") not in ([], before))
    for _ in range(20):
        time.sleep(0.1)
        assert len(processes(site, "serve-")) == 2, "and lives"
        assert site.ask("ed", GOOD[4]) == "GOOD"
    files.renew()
    eventually("the next one is taken", lambda: ask()[1] == 4, 10)


def test_memory_in_which_processes_crash_is_made_anew(site: Site) -> None:
    """Which is another host: nobody waits for the lease of the one before, and nothing revoked is good."""
    site.run("revoke", hex(GOOD[2]), "--issuer", "ed", "--reason", "keyCompromise")
    requests = site.metric("ocsp_requests_total")
    crash_until_made_anew(site)
    eventually("it answers", lambda: site.ask("ed", GOOD[3]) == "GOOD")
    assert site.ask("ed", GOOD[2]) == "REVOKED"
    assert site.metric("ocsp_requests_total") > requests > 0, "counters go on"
    assert site.value("SELECT count(*) FROM hosts") == 1, "the one before has left"
    site.run("revoke", hex(GOOD[3]), "--issuer", "ed", "--reason", "keyCompromise")
    assert site.ask("ed", GOOD[3]) == "REVOKED"


def test_a_reload_replaces_the_processes_and_one_that_is_refused_changes_nothing(site: Site) -> None:
    assert site.process is not None
    path, log = site.folder / "certstatus.toml", site.folder / "log"
    right = path.read_text()
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children")
    before = set(children.read_text().split())
    # Refused, for another address; its wish to log as text mustn't have come true.
    path.write_text(right.replace("workers = 2", "workers = 3") + '[log]\nformat = "text"\n')
    os.kill(site.process.pid, signal.SIGHUP)
    eventually("it is refused", lambda: "serve.workers is now 3" in log.read_text())
    refusal = next(line for line in log.read_text().splitlines() if "serve.workers is now 3" in line)
    assert json.loads(refusal)["event"] == "configuration_refused"
    assert "restart to change it" in json.loads(refusal)["fault"]
    assert set(children.read_text().split()) == before
    path.write_text(right)
    with asking_all_the_time(site) as asked:
        os.kill(site.process.pid, signal.SIGHUP)
        eventually("all are others", lambda: not before & set(children.read_text().split()), 60)
        eventually("ready", lambda: site.ready()[0] == 200, 60)
    assert asked.answered > 1000
    assert asked.lost == [], "each connection was told with an answer that it is the last"
    assert site.ask("well", REVOKED[1]) == "REVOKED"


def test_a_stop_loses_no_request_that_was_asked(site: Site) -> None:
    """Each client has the answer to its last request, and hears with it that it is the last."""
    assert site.process is not None
    answered = 0
    for _ in range(2):
        with asking_all_the_time(site) as asked:
            eventually("all ask", lambda asked=asked: asked.answered > 200)  # type: ignore[misc]
            site.process.send_signal(signal.SIGTERM)
            assert site.process.wait(30) == 0
        assert asked.lost == []
        answered += asked.answered
        site.start()
        eventually("it answers again", lambda: site.ask("well", REVOKED[1]) == "REVOKED", 60)
    assert answered > 400
