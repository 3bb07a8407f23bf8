/** A real server in a process of its own, with the fake engine; killed without mercy when asked. */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

const PYTHON = process.env["PYTHON_FOR_TESTS"] ?? "python3";

export class Server {
  private constructor(
    private readonly process: ChildProcess,
    readonly address: string,
    readonly page: string,
  ) {}

  static async start(): Promise<Server> {
    const words = ["-m", "legonn", "serve", "--backend", "fake", "--listen", "127.0.0.1:0"];
    const child = spawn(PYTHON, [...words, "--http", "127.0.0.1:0", "--metrics", ""], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    for await (const line of createInterface({ input: child.stdout! })) {
      const ready = /ready at (\S+) with/.exec(line);
      const page = /captions at (http:\/\/[^\s;/]+)/.exec(line);
      if (ready?.[1] && page?.[1]) {
        child.stdout!.resume();
        return new Server(child, ready[1], page[1]);
      }
    }
    throw new Error("the server did not start");
  }

  /** As a machine that loses its power. */
  kill(): void {
    this.process.kill("SIGKILL");
  }
}

/** Loud audio in which the fake engine hears words, and silence, as LINEAR16 at 16 kHz. */
export function speech(...parts: [seconds: number, level: number][]): Int16Array {
  const samples = parts.flatMap(([seconds, level]) =>
    Array.from({ length: Math.round(seconds * 16_000) }, (_, index) =>
      Math.round(level * 32_767 * Math.sin((2 * Math.PI * 440 * index) / 16_000)),
    ),
  );
  return Int16Array.from(samples);
}

/** The audio in pieces of 100 ms, slower than they can be sent. */
export async function* slowly(audio: Int16Array, pauseMs = 4): AsyncGenerator<Int16Array> {
  for (let start = 0; start < audio.length; start += 1_600) {
    await new Promise((done) => setTimeout(done, pauseMs));
    yield audio.subarray(start, start + 1_600);
  }
}
