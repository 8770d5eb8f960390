import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import { FUZZ_RUNS } from "#test-support/fuzz";
import { EVENT_TEXT_MAX, EventStreamReader, type StreamEvent } from "./event-stream.ts";

/** All events of a text that comes in these pieces. */
function read(...pieces: readonly string[]): readonly StreamEvent[] {
  const reader = new EventStreamReader();
  return pieces.flatMap((piece) => reader.push(piece));
}

describe("EventStreamReader", () => {
  test("events have their names, several lines of data, and no comments", () => {
    const text =
      ": hello\n\nevent: state\ndata: {\ndata: }\n\nid: 3\nretry: 9\ndata:a\n\nevent: x\n\n";
    expect(read(text)).toEqual([
      { event: "state", data: "{\n}" },
      { event: "message", data: "a" },
    ]);
  });

  test("what is not ended by an empty line is no event yet", () => {
    expect(read("event: state\ndata: 1\n")).toEqual([]);
  });

  test("pieces of any size and any line ending give the same events", () => {
    const event = fc.record({
      event: fc.stringMatching(/^[a-z]{1,8}$/),
      data: fc.string().map((text) => text.replace(/[\r\n]/g, "")),
    });
    const ending = fc.constantFrom("\n", "\r\n", "\r");
    fc.assert(
      fc.property(fc.array(event), ending, fc.array(fc.nat(200)), (events, end, cuts) => {
        const text = events
          .map(({ event, data }) => `event: ${event}${end}data: ${data}${end}:${end}${end}`)
          .join("");
        const at = [0, ...cuts.filter((cut) => cut < text.length).sort((a, b) => a - b)];
        const pieces = at.map((cut, i) => text.slice(cut, at[i + 1]));
        expect(read(...pieces)).toEqual(events);
      }),
      { numRuns: FUZZ_RUNS },
    );
  });

  test("an event without an end is refused before it fills the memory", () => {
    const mebibyte = "x".repeat(1024 * 1024);
    const flood = (piece: string) => () => {
      const reader = new EventStreamReader();
      for (let sent = 0; sent <= EVENT_TEXT_MAX; sent += mebibyte.length) reader.push(piece);
    };
    expect(flood(mebibyte)).toThrow(RangeError);
    expect(flood(`data: ${mebibyte}\n`)).toThrow(RangeError);
  });
});
