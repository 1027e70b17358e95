/**
 * Known bugs of sessions: numbers, replay, tokens, pace.
 */
import { Duration, Effect, Option } from "effect"
import * as Outgoing from "../../src/protocol/Frame.ts"
import type * as Connection from "../../src/session/Connection.ts"
import * as Plant from "./Plant.ts"

export const all: ReadonlyArray<Plant.Known> = [
  {
    bug: "a resume is welcomed and nothing is replayed",
    shows: /in the place of/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        converse: (opened, connection) => real.converse({ ...opened, replay: Option.none() }, connection)
      })
    })
  },
  {
    bug: "the replay begins one event too late",
    shows: /in the place of/,
    plant: Plant.replaying((real, seq) =>
      Effect.flatMap(real(seq + 1), (later) => (Option.isSome(later) ? Effect.succeed(later) : real(seq)))
    )
  },
  {
    bug: "the replay begins one event too early",
    shows: /in the place of/,
    plant: Plant.replaying((real, seq) => real(Math.max(0, seq - 1)))
  },
  {
    bug: "the replay stops after its first page",
    shows: /in the place of/,
    plant: Plant.replaying((real, seq) =>
      Effect.map(
        real(seq),
        Option.map((stamps) => stamps.slice(0, 1))
      )
    )
  },
  {
    bug: "the numbers begin anew on each connection",
    shows: /in the place of/,
    plant: Plant.sending(() => {
      let last = 0
      return (frame) => [Plant.isSequenced(frame) ? { ...frame, event_seq: ++last } : frame]
    })
  },
  {
    bug: "what is replayed gets new envelope ids",
    shows: /number \d+ is/,
    plant: Plant.sending((line) => (frame) => [
      Plant.isSequenced(frame) ? { ...frame, id: `${String(frame["id"])}_${line}` } : frame
    ])
  },
  {
    bug: "what is replayed is stamped with the time of the replay",
    shows: /number \d+ is/,
    plant: Plant.sending((line) => (frame) => [
      Plant.isSequenced(frame) ? { ...frame, payload: { ...(frame["payload"] as Plant.Frame), line } } : frame
    ])
  },
  {
    bug: "frames leave before their numbers are stored",
    shows: /in the place of|could be resumed|goes on at/,
    plant: () => ({
      sessionStore: (real) => ({
        ...real,
        stamp: (session, epoch, stamps) =>
          Effect.asVoid(
            Effect.forkDetach(Effect.ignore(Effect.delay(real.stamp(session, epoch, stamps), "300 millis")))
          )
      })
    })
  },
  {
    bug: "events go to the connection that the session began with",
    shows: /does not end|in the place of|before its welcome/,
    plant: () => {
      const first = new Map<string, Connection.Line>()
      return {
        sessions: (real) => ({
          ...real,
          converse: (opened, connection) => {
            const { id } = opened.session
            const began = first.get(id) ?? connection
            first.set(id, began)
            return real.converse(opened, {
              ...connection,
              send: (frames) =>
                (frames.some((text) => Outgoing.textOf(text).includes('"event_seq"')) ? began : connection).send(frames)
            })
          }
        })
      }
    }
  },
  {
    bug: "a full queue drops an event",
    shows: /goes on at|in the place of/,
    plant: Plant.sending(() => {
      let count = 0
      return (frame) => (Plant.isSequenced(frame) && ++count % 20 === 0 ? [] : [frame])
    })
  },
  {
    bug: "numbers are taken before the queue, so that two events change places",
    shows: /goes on at/,
    plant: Plant.reading((page) => {
      const [first, second, ...rest] = page.entries
      return first === undefined || second === undefined || second.type !== "job.event"
        ? page
        : { ...page, entries: [second, first, ...rest] }
    })
  },
  {
    bug: "two writers send the same frame",
    shows: /in the place of/,
    plant: Plant.sending(() => {
      let count = 0
      return (frame) => (Plant.isSequenced(frame) && ++count % 15 === 0 ? [frame, frame] : [frame])
    })
  },
  {
    bug: "numbers count for each job",
    shows: /in the place of/,
    plant: Plant.sending(() => (frame) => [
      Plant.isSequenced(frame) ? { ...frame, event_seq: frame["job_seq"] } : frame
    ])
  },
  {
    bug: "sessions are never forgotten",
    shows: /never forgotten/,
    plant: () => ({ config: { resumeWindow: Duration.hours(2) } })
  },
  {
    bug: "a wrong guess costs the victim its session",
    shows: /could be resumed/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        resume: (principal, request) =>
          Effect.tapError(real.resume(principal, request), () =>
            request.session_id === undefined ? Effect.void : real.close(request.session_id)
          )
      })
    })
  },
  {
    bug: "a token is enough to resume the session of another principal",
    shows: /resumed a session of|another principal/,
    plant: () => {
      const owners = new Map<string, string>()
      return {
        sessions: (real) => ({
          ...real,
          open: (agreement) => {
            owners.set(agreement.id, agreement.principal.id)
            return real.open(agreement)
          },
          resume: (principal, request) =>
            real.resume({ ...principal, id: owners.get(request.session_id ?? "") ?? principal.id }, request)
        })
      }
    }
  },
  {
    bug: "replaced tokens stay good",
    shows: /token that is dead|an old token/,
    plant: () => {
      const shown = new Map<string, Array<Uint8Array>>()
      return {
        sessionStore: (real) => ({
          ...real,
          rotate: (session, rotation) =>
            Effect.gen(function* () {
              const tokens = shown.get(session) ?? []
              const epoch = yield* real.rotate(session, rotation)
              const presented = Option.getOrUndefined(rotation.presented)?.join()
              const current = tokens.at(-1)
              shown.set(session, [...tokens, rotation.next])
              return Option.isSome(epoch) ||
                current === undefined ||
                !tokens.some((token) => token.join() === presented)
                ? epoch
                : yield* real.rotate(session, { ...rotation, presented: Option.some(current) })
            })
        })
      }
    }
  },
  {
    bug: "the token is not changed by a resume",
    shows: /was not changed/,
    plant: () => ({
      sessions: (real) => ({
        ...real,
        resume: (principal, request) =>
          Effect.map(real.resume(principal, request), (opened) => ({ ...opened, resumeToken: request.resume_token }))
      })
    })
  },
  {
    bug: "a number that was never given is resumed from",
    shows: /never given/,
    plant: Plant.replaying((real, seq) => Effect.map(real(seq), (stamps) => Option.orElseSome(stamps, () => [])))
  },
  {
    bug: "an answer goes to the oldest request that waits",
    shows: /answers|was not asked/,
    plant: Plant.sending(() => {
      let first: unknown
      return (frame) => {
        const payload = frame["payload"] as Plant.Frame
        if (payload["request_id"] === undefined) return [frame]
        first ??= payload["request_id"]
        return [{ ...frame, payload: { ...payload, request_id: first } }]
      }
    })
  },
  {
    bug: "acknowledgements free nothing",
    shows: /does not end/,
    plant: Plant.receiving((frame) => (frame["type"] === "session.ack" ? [] : [frame]))
  },
  {
    bug: "the pace of the client is not kept",
    shows: /ahead of its reader/,
    plant: () => ({ config: { pacingWindow: 1024 * 1024, sessionWindow: 1024 * 1024 } })
  },
  {
    bug: "events of one session are sent to another",
    shows: /is sent|another session|before its welcome/,
    plant: () => {
      let latest: Connection.Frames | undefined
      let count = 0
      return {
        line: (real) => {
          const line = latest ?? real
          latest = real
          return {
            ...real,
            send: (frames) => (++count % 12 === 0 ? Effect.ignore(line.send(frames)) : real.send(frames))
          }
        }
      }
    }
  }
]
