#!/usr/bin/env node
/**
 * The `arcp` command.
 *
 * @since 0.1.0
 */
import { NodeServices } from "@effect/platform-node"
import { Effect } from "effect"
import * as ArcpCommand from "./ArcpCommand.ts"
import * as Signals from "./Signals.ts"

Signals.runMain(Effect.provide(ArcpCommand.main, NodeServices.layer))
