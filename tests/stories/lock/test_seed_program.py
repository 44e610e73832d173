"""The program that people have: it runs unchanged when its lock class is replaced by ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import redis

from ...support.servers import Server

#: How such programs use a lock: from the card of our first user, its own class left out.
PROGRAM = """
import redis
import time
import pandas as pd
from celery_redislock import RedisLock

if __name__ == '__main__':
    # 连接到Redis
    redis_client = redis.Redis(host='localhost', port=6379, decode_responses=True)

    # 创建锁
    lock = RedisLock(redis_client, 'csv_file_lock', expire=5)

    # 尝试获取锁并访问CSV文件
    if lock.acquire(blocking=True, timeout=5):
        try:
            print("Client 1: Lock acquired")
            # 模拟对CSV文件的处理
            print("Client 1: Processing CSV file...")
            df = pd.read_csv("./students.csv", encoding='utf-8')
            print(df.head())
            time.sleep(3)  # 假设处理需要3秒
            print("Client 1: CSV file processed successfully")
        finally:
            lock.release()
            print("Client 1: Lock released")
    else:
        print("Client 1: Failed to acquire lock")
"""

CSV = "name,score\n张三,90\n李四,85\n"

#: How the client reads replies: ``decode_responses`` and the version of the protocol.
WAYS = [(True, 2), (False, 3)]


def start_copy(folder: Path, port: int, database: int, way: tuple[bool, int]) -> subprocess.Popen[bytes]:
    """Start the program; its copies share a folder and a file for what they print."""
    folder.mkdir(exist_ok=True)
    (folder / "students.csv").write_text(CSV, encoding="utf-8")
    decode, protocol = way
    connection = f"port={port}, db={database}, decode_responses={decode}, protocol={protocol}"
    program = PROGRAM.replace("port=6379, decode_responses=True", connection)
    with (folder / "output").open("ab") as output:
        return subprocess.Popen(
            [sys.executable, "-u", "-c", program],
            cwd=folder,
            stdout=output,
            stderr=output,
            env={**os.environ, "PYTHONUTF8": "1"},
        )


def test_the_program_keeps_its_promise_and_a_second_copy_waits_for_the_first(
    server: Server, client: redis.Redis, tmp_path: Path
) -> None:
    # All ways at once, each in a database of its own: the program takes its time.
    copies = [
        start_copy(tmp_path / str(database), server.port, database, way)
        for database, way in enumerate(WAYS)
        for _ in range(2)
    ]
    assert [copy.wait(60) for copy in copies] == [0] * len(copies)

    for database, way in enumerate(WAYS):
        output = (tmp_path / str(database) / "output").read_text(encoding="utf-8")
        lines = [line for line in output.splitlines() if line.startswith("Client 1")]
        acquired = [n for n, line in enumerate(lines) if line == "Client 1: Lock acquired"]
        done = [n for n, line in enumerate(lines) if line.endswith("processed successfully")]
        assert len(acquired) == len(done) == 2, f"{way}: {output}"
        # The first line of the second copy may come before the first copy says that it released.
        assert acquired[0] < done[0] < acquired[1] < done[1], f"{way}: {output}"
        assert lines.count("Client 1: Lock released") == 2
        assert output.count("张三") == 2
