/**
 * Asking the runtime to end a job (§7.4).
 */
import { Effect } from "effect"
import * as ArcpError from "../../protocol/ArcpError.ts"
import type * as JobMessage from "../../protocol/JobMessage.ts"
import * as ClientError from "../ClientError.ts"
import * as ClientSession from "./clientSession.ts"
import * as Exchange from "./exchange.ts"
import type * as Job from "./job.ts"
import * as Requests from "./requests.ts"

export const cancel = Effect.fn("JobHandle.cancel")(function* (
  session: ClientSession.ClientSession,
  { finalStatus, id }: Pick<Job.Followed, "id" | "finalStatus">,
  reason: string
) {
  if (finalStatus !== undefined) {
    return yield* new ArcpError.JobNotFound({
      message: "The job has already ended",
      details: { job_id: id, final_status: finalStatus }
    })
  }
  const frame: Omit<JobMessage.Cancel, "id"> = {
    ...ClientSession.base(session),
    type: "job.cancel",
    job_id: id,
    payload: { job_id: id, reason }
  }
  const pending = Requests.cancel(yield* session.nextId, id, Requests.framed(frame))
  return yield* Exchange.request(session, pending).pipe(Effect.mapError(ClientError.fromCancel))
})
