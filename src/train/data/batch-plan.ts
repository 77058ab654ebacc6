import { finding } from '../../core/errors.ts'
import { shuffled } from './shuffle.ts'

/** Per rank and micro-step: a number of samples, or a budget of padded tokens. */
export type BatchSize = { readonly samples: number } | { readonly tokens: number }

export interface PlanSettings {
  readonly epochs: number
  readonly maxSteps: number | null
  readonly batch: BatchSize
  /** Micro-steps in one optimiser step. */
  readonly accumulate: number
  readonly shuffle: boolean
  readonly seed: number
  readonly worldSize: number
  readonly rank: number
}

/** What one rank does in one forward and backward pass. All ranks do the micro-step of the same cursor together. */
export interface MicroStep {
  /** 0-based. */
  readonly epoch: number
  /** Micro-steps of the whole run that come before this one. */
  readonly cursor: number
  /** The optimiser step that this one belongs to, 1-based: the global step once its window is done. */
  readonly step: number
  /** This rank's samples, as indices into the refs. */
  readonly samples: readonly number[]
  /** Samples of all ranks x the longest of them: the denominator of reduction `all`. */
  readonly positions: number
  /** Micro-steps in its optimiser step. */
  readonly window: number
  /** The last of its window. */
  readonly boundary: boolean
}

export interface BatchPlan {
  /** Optimiser steps of the whole run, resumed part included: the length of the learning-rate schedule. */
  readonly totalSteps: number
  /** Samples of an epoch that do not fill equal shards. With the shuffle, other samples in each epoch. */
  readonly leftOver: number
  /** The micro-steps that follow optimiser step `done` (0: all). Orders are made epoch by epoch, while it is read. */
  from(done: number): Generator<MicroStep, void, undefined>
  /** What every rank does in optimiser step `step`: one entry for each rank. */
  ofStep(step: number): readonly (readonly MicroStep[])[]
  /** Where the run stands after optimiser step `done`: the first micro-step that is still to do. */
  position(done: number): { readonly epoch: number; readonly cursor: number }
}

interface Group {
  readonly start: number
  /** Samples per rank. */
  readonly each: number
  readonly longest: number
}

/**
 * Which rank trains on which samples, and when. A pure function of lengths and settings: the order of samples does not
 * depend on the number of ranks, shards of a micro-step are equal and disjoint, and windows run on across epochs.
 * @throws CONFIG_INVALID when the data set cannot fill one micro-step of all ranks, or a sample alone exceeds the budget.
 */
export function batchPlan(lengths: readonly number[], settings: PlanSettings): BatchPlan {
  requireEnough(lengths, settings)
  const perEpoch = microStepsPerEpoch(lengths, settings)
  const microSteps = perEpoch.reduce((sum, count) => sum + count, 0)
  const { accumulate, maxSteps } = settings
  const allSteps = Math.ceil(microSteps / accumulate)
  const totalSteps = maxSteps === null ? allSteps : Math.min(maxSteps, allSteps)
  const end = Math.min(totalSteps * accumulate, microSteps)
  const perShard = 'samples' in settings.batch ? settings.batch.samples : 1
  return {
    totalSteps,
    leftOver: lengths.length % (perShard * settings.worldSize),
    from: (done) => walk(lengths, settings, { perEpoch, first: done * accumulate, end }),
    ofStep: (step) => {
      const stretch = { perEpoch, first: (step - 1) * accumulate, end: Math.min(step * accumulate, end) }
      return Array.from({ length: settings.worldSize }, (_, rank) => [...walk(lengths, { ...settings, rank }, stretch)])
    },
    position: (done) => {
      const cursor = Math.min(done * accumulate, end)
      return { epoch: locate(perEpoch, cursor).epoch, cursor }
    },
  }
}

interface Stretch {
  readonly perEpoch: readonly number[]
  readonly first: number
  readonly end: number
}

function* walk(lengths: readonly number[], settings: PlanSettings, stretch: Stretch): Generator<MicroStep> {
  const { accumulate } = settings
  let { epoch, skip } = locate(stretch.perEpoch, stretch.first)
  let cursor = stretch.first - skip
  for (; cursor < stretch.end; epoch += 1) {
    const order = orderOf(lengths.length, settings, epoch)
    for (const group of groups(lengths, order, settings)) {
      if (cursor >= stretch.end) return
      if (skip > 0) skip -= 1
      else {
        const begun = cursor - (cursor % accumulate)
        const window = Math.min(accumulate, stretch.end - begun)
        yield {
          epoch,
          cursor,
          step: begun / accumulate + 1,
          samples: shardOf(order, group, settings.rank),
          positions: group.each * settings.worldSize * group.longest,
          window,
          boundary: cursor === begun + window - 1,
        }
      }
      cursor += 1
    }
  }
}

function shardOf(order: Uint32Array, { start, each }: Group, rank: number): readonly number[] {
  return Array.from(order.subarray(start + rank * each, start + (rank + 1) * each))
}

function orderOf(count: number, { shuffle, seed }: PlanSettings, epoch: number): Uint32Array {
  return shuffle ? shuffled(count, seed, epoch) : Uint32Array.from({ length: count }, (_, index) => index)
}

/** Cuts one epoch's order into the micro-steps of all ranks; what is too little for one more is left over. */
function* groups(lengths: readonly number[], order: Uint32Array, settings: PlanSettings): Generator<Group> {
  const { batch, worldSize } = settings
  for (let start = 0; start + worldSize <= order.length; ) {
    const group =
      'samples' in batch
        ? { start, each: batch.samples, longest: longestIn(lengths, order, start, batch.samples * worldSize) }
        : fill(lengths, order, start, batch.tokens, worldSize)
    if (start + group.each * worldSize > order.length) return
    yield group
    start += group.each * worldSize
  }
}

/** As many samples per rank as fit the budget once all are padded to the longest of the whole micro-step. */
function fill(lengths: readonly number[], order: Uint32Array, start: number, tokens: number, ranks: number): Group {
  let each = 1
  let longest = longestIn(lengths, order, start, ranks)
  for (;;) {
    const next = start + each * ranks
    if (next + ranks > order.length) break
    const grown = Math.max(longest, longestIn(lengths, order, next, ranks))
    if ((each + 1) * grown > tokens) break
    longest = grown
    each += 1
  }
  return { start, each, longest }
}

function longestIn(lengths: readonly number[], order: Uint32Array, start: number, count: number): number {
  let longest = 0
  const end = Math.min(start + count, order.length)
  for (let at = start; at < end; at += 1) longest = Math.max(longest, lengths[order[at] ?? 0] ?? 0)
  return longest
}

function microStepsPerEpoch(lengths: readonly number[], settings: PlanSettings): readonly number[] {
  const { batch, epochs, worldSize } = settings
  if ('samples' in batch) {
    return new Array<number>(epochs).fill(Math.floor(lengths.length / (batch.samples * worldSize)))
  }
  // With a token budget the number depends on which samples meet, so every epoch is counted once, order by order.
  return Array.from({ length: epochs }, (_, epoch) => {
    let count = 0
    for (const _group of groups(lengths, orderOf(lengths.length, settings, epoch), settings)) count += 1
    return count
  })
}

/** The epoch that micro-step `cursor` is in, and how many of that epoch's micro-steps come before it. */
function locate(perEpoch: readonly number[], cursor: number): { epoch: number; skip: number } {
  let skip = cursor
  for (const [epoch, count] of perEpoch.entries()) {
    if (skip < count) return { epoch, skip }
    skip -= count
  }
  return { epoch: perEpoch.length, skip }
}

function requireEnough(lengths: readonly number[], { batch, worldSize }: PlanSettings): void {
  const needed = worldSize * ('samples' in batch ? batch.samples : 1)
  if (lengths.length < needed) {
    const samples = lengths.length === 1 ? '1 sample' : `${lengths.length} samples`
    const ranks = worldSize === 1 ? '1 rank needs' : `${worldSize} ranks need`
    throw finding('CONFIG_INVALID', 'the data set is smaller than one training step of all ranks', {
      field: 'train.batch',
      found: `${samples}; ${ranks} ${needed} for one step`,
      fix: 'make train.batch smaller, use fewer ranks (launch.ranksPerNode), or produce more samples',
    })
  }
  if ('samples' in batch) return
  const longest = lengths.reduce((most, length) => Math.max(most, length), 0)
  if (longest <= batch.tokens) return
  throw finding('CONFIG_INVALID', 'one sample alone is longer than the token budget of a step', {
    field: 'train.batch.tokens',
    found: `${batch.tokens}; the longest sample has ${longest} tokens`,
    fix: `raise train.batch.tokens to at least ${longest}, or lower data.maxLength`,
  })
}
