/**
 * Identifiers as they travel: branded strings, opaque to whoever did not mint them (§5, §6.2).
 *
 * We mint a prefix and a ULID (`job_01JABC...`), so ids sort by age and say what they name. Peers mint other forms, hence
 * decoding takes any string of 1 to 256 characters.
 *
 * @since 0.1.0
 */
import { Effect, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Hex } from "effect/encoding"

const opaque = Schema.String.check(Schema.isBetweenLength(1, 256))

/**
 * Identifies one envelope, and is what `request_id` points at (§5).
 *
 * @category models
 * @since 0.1.0
 */
export const MessageId = opaque.pipe(Schema.brand("MessageId"))
export type MessageId = typeof MessageId.Type

/**
 * Identifies a session, over all its connections (§6.2).
 *
 * @category models
 * @since 0.1.0
 */
export const SessionId = opaque.pipe(Schema.brand("SessionId"))
export type SessionId = typeof SessionId.Type

/**
 * Identifies a job (§7.1).
 *
 * @category models
 * @since 0.1.0
 */
export const JobId = opaque.pipe(Schema.brand("JobId"))
export type JobId = typeof JobId.Type

/**
 * Names one streamed result (§8.4).
 *
 * @category models
 * @since 0.1.0
 */
export const ResultId = opaque.pipe(Schema.brand("ResultId"))
export type ResultId = typeof ResultId.Type

/**
 * Identifies a provisioned credential, whatever its value is at the moment (§9.8).
 *
 * @category models
 * @since 0.1.0
 */
export const CredentialId = opaque.pipe(Schema.brand("CredentialId"))
export type CredentialId = typeof CredentialId.Type

/**
 * A W3C trace id: 32 lower-case hexadecimal digits, not all zero (§11).
 *
 * @category models
 * @since 0.1.0
 */
export const TraceId = Schema.String.check(Schema.isPattern(/^(?!0{32})[0-9a-f]{32}$/)).pipe(Schema.brand("TraceId"))
export type TraceId = typeof TraceId.Type

const ulid = <A>(prefix: string, brand: (text: string) => A): Effect.Effect<A, never, SecureRandom.SecureRandom> =>
  SecureRandom.SecureRandom.use((random) => Effect.map(random.ulid, (text) => brand(prefix + text)))

const trust = <A extends string>(text: string) => text as A

/**
 * A fresh id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeMessageId = ulid("msg_", trust<MessageId>)

/**
 * A fresh id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeSessionId = ulid("sess_", trust<SessionId>)

/**
 * A fresh id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeJobId = ulid("job_", trust<JobId>)

/**
 * A fresh id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeResultId = ulid("res_", trust<ResultId>)

/**
 * A fresh id.
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeCredentialId = ulid("cred_", trust<CredentialId>)

/**
 * A fresh trace id, for a submit that came without one (§11).
 *
 * @category constructors
 * @since 0.1.0
 */
export const makeTraceId: Effect.Effect<TraceId, never, SecureRandom.SecureRandom> = SecureRandom.SecureRandom.use(
  (random) =>
    Effect.map(random.randomBytes(16), (bytes) => {
      // The all-zero id means "no trace" to W3C consumers.
      bytes[15] = (bytes[15] ?? 0) | 1
      return trust<TraceId>(Hex.encode(bytes))
    })
)

const base32 = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

/**
 * The id of the frame that carries `sequence` in a session: a pure function of both, so a replayed frame has the id of its first
 * delivery and nothing has to be remembered for it.
 *
 * **Details**
 *
 * The ULID of the session lends its time and the last 40 of its random bits, in which sessions of one millisecond differ; the sequence
 * takes the place of the other 40, which is more than a session can send in a human lifetime. Session ids that hold no ULID lend their
 * last characters.
 *
 * @category constructors
 * @since 0.1.0
 */
export const sequencedMessageId = (session: SessionId): ((sequence: number) => MessageId) => {
  const body = session
    .slice(-26)
    .toUpperCase()
    .replace(/[^0-9A-HJKMNP-TV-Z]/g, "0")
    .padStart(26, "0")
  const head = `msg_${body.slice(0, 10)}${body.slice(18)}`
  // All but the last two digits change once in a thousand.
  let page = Number.NaN
  let text = ""
  return (sequence) => {
    const low = sequence % 1024
    if (sequence - low !== page) {
      page = sequence - low
      text = head + digits(page / 1024, 6)
    }
    return trust<MessageId>(text + pairs[low]!)
  }
}

/**
 * The last two characters of the ids that {@link sequencedMessageId} makes. What comes before them is the same for 1024 numbers in a row, the
 * first of which is a multiple of that.
 *
 * @category getters
 * @since 0.1.0
 */
export const lastOfSequenced = (sequence: number): string => pairs[sequence % 1024]!

const digits = (value: number, count: number): string => {
  let text = ""
  for (let rest = value; text.length < count; rest = Math.floor(rest / 32)) text = base32[rest % 32]! + text
  return text
}

const pairs = Array.from({ length: 1024 }, (_, value) => digits(value, 2))
