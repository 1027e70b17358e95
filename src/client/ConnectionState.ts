/**
 * Whether a client can talk to its runtime at the moment.
 *
 * @since 0.1.0
 */
import type * as Ids from "../protocol/Ids.ts"
import type * as ClientError from "./ClientError.ts"

/**
 * - `Connected`: over an open line, in this session.
 * - `Reconnecting`: the line is gone, the session is not; `attempt` counts the dials since, from 1. Requests wait.
 * - `Closed`: the session is over. `renewable` says whether the next request opens a new one.
 *
 * @category models
 * @since 0.1.0
 */
export type ConnectionState =
  | { readonly _tag: "Connected"; readonly sessionId: Ids.SessionId }
  | { readonly _tag: "Reconnecting"; readonly attempt: number; readonly cause: ClientError.SessionLost }
  | { readonly _tag: "Closed"; readonly cause: ClientError.SessionLost; readonly renewable: boolean }
