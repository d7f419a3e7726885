# SPDX-License-Identifier: MIT
"""Servers: started on a Unix socket in the temporary folder, driven by several
clients at once, every answer checked, stopped in order."""

import gzip
import random
import signal
import threading

from box import Wrong, connect, expect, workers

CLIENTS = 4


def in_threads(function):
    """function(0), function(1), … at the same time; their results in order."""
    results = [None] * CLIENTS
    errors = []

    def work(number):
        try:
            results[number] = function(number)
        except Exception as error:  # pylint: disable=broad-except
            errors.append(error)

    threads = [threading.Thread(target=work, args=(i,))
               for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Wrong("a client: %r" % errors[0]) from errors[0]
    return results


# ---- redis ------------------------------------------------------------------


class Redis:
    """A client of redis' protocol."""

    def __init__(self, path):
        self.file = connect(path)

    def send(self, *words):
        out = [b"*%d\r\n" % len(words)]
        for word in words:
            data = word if isinstance(word, bytes) else str(word).encode()
            out.append(b"$%d\r\n%s\r\n" % (len(data), data))
        self.file.write(b"".join(out))

    def answer(self):
        self.file.flush()
        line = self.file.readline()
        if not line.endswith(b"\r\n"):
            raise EOFError("the connection was closed")
        kind, rest = line[:1], line[1:-2]
        if kind in b"+":
            return rest.decode()
        if kind == b"-":
            raise Wrong("redis: " + rest.decode())
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return None if int(rest) < 0 else \
                self.file.read(int(rest) + 2)[:-2]
        expect(kind == b"*", "redis: %r" % line)
        return [self.answer() for _ in range(int(rest))]

    def __call__(self, *words):
        self.send(*words)
        return self.answer()

    def wait_saved(self):
        while b"rdb_bgsave_in_progress:1" in self("INFO", "persistence"):
            pass
        info = self("INFO", "persistence")
        expect(b"rdb_last_bgsave_status:ok" in info, "redis: no BGSAVE")


def redis_client(path, number):
    """Keys of its own, beside a model of them."""
    rng = random.Random(number)
    client = Redis(path)
    model = {}
    for i in range(3000):
        key = "c%d:%d" % (number, rng.randrange(800))
        what = rng.randrange(5)
        if what == 0:
            model[key] = b"%d" % i * rng.randrange(1, 400)
            expect(client("SET", key, model[key]) == "OK", "SET")
        elif what == 1:
            expect(client("GET", key) == model.get(key), "GET " + key)
        elif what == 2:
            model[key] = model.get(key, b"") + b"more"
            expect(client("APPEND", key, "more") == len(model[key]), "APPEND")
        elif what == 3:
            expect(client("DEL", key) == (model.pop(key, None) is not None),
                   "DEL " + key)
        else:
            client.send("EXISTS", key)  # several on their way at once
            client.send("STRLEN", key)
            expect(client.answer() == (key in model), "EXISTS")
            expect(client.answer() == len(model.get(key, b"")), "STRLEN")
    for key, value in model.items():
        expect(client("GET", key) == value, "GET at the end")
    return sorted(model)


def redis_structures(client):
    members = [(i * 7919 % 5003, "m%d" % i) for i in range(3000)]
    for score, member in members:
        client.send("ZADD", "scores", score, member)
        client.send("HSET", "hash", member, "v" * (score % 90))
        client.send("RPUSH", "list", member)
        client.send("SADD", "set", score % 700)
    for _ in range(len(members) * 4):
        client.answer()
    members.sort()
    expect(client("ZRANGE", "scores", 0, 9) ==
           [member.encode() for _, member in members[:10]], "ZRANGE")
    expect(client("HLEN", "hash") == 3000, "HLEN")
    expect(client("SCARD", "set") ==
           len({score % 700 for score, _ in members}), "SCARD")
    expect(client("LRANGE", "list", -2, -1) == [b"m2998", b"m2999"], "LRANGE")
    expect(client("EVAL", "local n = 0 for i, v in ipairs(redis.call("
                  "'LRANGE', KEYS[1], 0, -1)) do n = n + #v end return n",
                  1, "list") == sum(len(m) for _, m in members), "EVAL")
    expect(client("LTRIM", "list", 0, 99) == "OK", "LTRIM")
    expect(client("SORT", "set", "LIMIT", 0, 3) == [b"0", b"1", b"2"], "SORT")


def redis(box):
    path = box.path("redis.sock")
    config = ("--port", "0", "--unixsocket", path, "--dir", box.folder,
              "--save", "", "--appendonly", "yes", "--io-threads", "2",
              "--activerehashing", "yes", "--daemonize", "no",
              "--enable-debug-command", "local")
    with box.server("redis-server", *config, ready=lambda: connect(path),
                    stop=None):
        client = Redis(path)
        box.note("keys", in_threads(lambda i: redis_client(path, i)))
        redis_structures(client)
        before = client("DEBUG", "DIGEST")
        expect(client("BGSAVE") == "Background saving started", "BGSAVE")
        client.wait_saved()  # a fork
        expect(client("DEBUG", "RELOAD") == "OK", "RELOAD")
        expect(client("DEBUG", "DIGEST") == before, "other data after RELOAD")
        expect(client("BGREWRITEAOF").startswith("Background append only"),
               "BGREWRITEAOF")
        box.run("redis-benchmark", "-s", path, "-q", "-n", "4000", "-c", "20",
                "-P", "8", "-r", "1000", strip=lambda text: "")
        expect(client("FLUSHALL") == "OK" and client("DBSIZE") == 0,
               "FLUSHALL")
        client.send("SHUTDOWN", "NOSAVE")
        client.file.flush()
        box.note("digest", before)


# ---- memcached --------------------------------------------------------------


def memcached_client(path, number):
    rng = random.Random(number)
    file = connect(path)
    model = {}

    def answer(line):
        file.write(line)
        file.flush()
        return file.readline()

    for i in range(3000):
        key = b"c%d:%d" % (number, rng.randrange(500))
        what = rng.randrange(4)
        if what < 2:
            value = b"%d" % i * rng.randrange(1, 1000)
            got = answer(b"set %s 0 0 %d\r\n%s\r\n" % (key, len(value), value))
            expect(got == b"STORED\r\n", "set: %r" % got)
            model[key] = value
        elif what == 2:
            got = answer(b"delete %s\r\n" % key)
            wanted = b"DELETED\r\n" if model.pop(key, None) is not None \
                else b"NOT_FOUND\r\n"
            expect(got == wanted, "delete: %r" % got)
        else:
            got = answer(b"get %s\r\n" % key)
            if key in model:
                value = model[key]
                expect(got == b"VALUE %s 0 %d\r\n" % (key, len(value)),
                       "get: %r" % got)
                expect(file.read(len(value) + 2) == value + b"\r\n" and
                       file.readline() == b"END\r\n", "another value")
            else:
                expect(got == b"END\r\n", "get: %r" % got)
    return len(model)


def memcached(box):
    path = box.path("memcached.sock")
    with box.server("memcached", "-s", path, "-u", "root", "-t", "4",
                    "-m", "64", "-I", "2m", ready=lambda: connect(path)):
        box.note("items", in_threads(lambda i: memcached_client(path, i)))
        file = connect(path)
        file.write(b"stats\r\nflush_all\r\n")
        file.flush()
        stats = {}
        while (line := file.readline()) != b"END\r\n":
            _, name, value = line.split(None, 2)
            stats[name] = value
        expect(file.readline() == b"OK\r\n", "flush_all")
        box.note("sets", stats[b"cmd_set"])


# ---- nginx ------------------------------------------------------------------


NGINX = """
# SPDX-License-Identifier: MIT
daemon off;
user root;
worker_processes 2;
pid {0}/pid;
error_log stderr warn;
events {{ worker_connections 200; }}
http {{
	access_log {0}/access.log;
	client_body_temp_path {0}/body;
	proxy_temp_path {0}/proxy;
	fastcgi_temp_path {0}/fastcgi;
	uwsgi_temp_path {0}/uwsgi;
	scgi_temp_path {0}/scgi;
	gzip on;
	gzip_types *;
	upstream back {{ server unix:{0}/back.sock; }}
	server {{
		listen unix:{0}/front.sock;
		location / {{ proxy_pass http://back; proxy_buffers 4 8k; }}
		location /files/ {{ root {0}; }}
		location ~ ^/moved/(.*)$ {{ return 301 /files/$1; }}
	}}
	server {{
		listen unix:{0}/back.sock;
		location / {{ return 200 "$request_uri from the back\\n"; }}
		location /files/ {{ root {0}; }}
	}}
}}
"""


def fetch(file, target, *headers):
    """(status, headers, body) of a request on a connection that stays."""
    file.write("\r\n".join(("GET %s HTTP/1.1" % target, "Host: test",
                            *headers, "", "")).encode())
    file.flush()
    status = int(file.readline().split()[1])
    got = {}
    while (line := file.readline().strip()):
        name, _, value = line.decode().partition(": ")
        got[name.lower()] = value
    if got.get("transfer-encoding") == "chunked":
        body = b""
        while (size := int(file.readline(), 16)):
            body += file.read(size)
            file.readline()
        file.readline()
    else:
        body = file.read(int(got["content-length"]))
    if got.get("content-encoding") == "gzip":
        body = gzip.decompress(body)
    return status, got, body


def nginx_client(path, files, number):
    rng = random.Random(number)
    file = connect(path)
    for i in range(800):
        if i % 90 == 89:
            file.close()
            file = connect(path)
        name = rng.choice(sorted(files))
        what = rng.randrange(4)
        headers = ("Accept-Encoding: gzip",) if rng.randrange(2) else ()
        if what == 0:
            got = fetch(file, "/files/" + name, *headers)
            expect(got[0] == 200 and got[2] == files[name], "a file")
        elif what == 1:
            target = "/%d?%s" % (i, "q" * rng.randrange(500))
            got = fetch(file, target, *headers)
            expect(got[0] == 200 and got[2] ==
                   target.encode() + b" from the back\n", "a proxied page")
        elif what == 2:
            got = fetch(file, "/moved/" + name, *headers)
            expect(got[0] == 301 and got[1]["location"].endswith(
                "/files/" + name), "a redirection")
        else:
            got = fetch(file, "/files/none-%d" % i, *headers)
            expect(got[0] == 404, "no file")
    file.close()


def nginx(box):
    config = box.write("nginx.conf", NGINX.format(box.folder))
    files = {}
    for i in range(12):
        text = "".join("line %d of %d\n" % (j, i) for j in range(5 ** (i % 7)))
        box.write("files/f%d.txt" % i, text)
        files["f%d.txt" % i] = text.encode()
    box.run("nginx", "-t", "-c", config, "-p", box.folder, "-e", "stderr")
    path = box.path("front.sock")
    with box.server("nginx", "-c", config, "-p", box.folder, "-e", "stderr",
                    ready=lambda: connect(path),
                    stop=signal.SIGQUIT) as process:
        expect(len(workers(process.pid)) == 2, "not two workers")
        for pid in workers(process.pid):
            box.check_loaded(pid)
        in_threads(lambda i: nginx_client(path, files, i))
        before = workers(process.pid)
        process.send_signal(signal.SIGHUP)  # new workers, the old ones end
        while set(before) & set(workers(process.pid)):
            pass
        in_threads(lambda i: nginx_client(path, files, i + CLIENTS))
    with open(box.path("access.log"), encoding="utf-8") as file:
        box.note("requests", len(file.readlines()))


CASES = (redis, memcached, nginx)
