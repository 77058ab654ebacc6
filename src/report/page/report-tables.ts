import type { Evaluation, RunHistory } from '../events/run-history.ts'
import { gib, memoryParts, peakText } from '../text/memory-text.ts'
import { speedUp } from '../text/summary.ts'
import { bytes, count, duration, figure, percent, plural } from '../words.ts'
import { html, type Markup, nothing } from './html.ts'

/** The most important figures of a run. */
export function facts({ metrics, produced, evaluation, trained, trainStarted }: RunHistory): Markup {
  const [first, last] = [metrics[0], metrics.at(-1)]
  const best = evaluation?.bySteps.toSorted((a, b) => b.tau - a.tau)[0]
  return html`<dl class="facts">
${fact('Tau', best?.tau.toFixed(3) ?? 'not measured', best === undefined ? 'tokens per target pass' : `tokens per target pass, ${plural(best.steps, 'draft step')}`)}
${fact('Loss', figure(last?.loss ?? null), first === undefined ? 'no step yet' : `from ${figure(first.loss)} at step ${count(first.step)}`)}
${fact('Accuracy, first token', share(last?.acc[0]), first === undefined ? 'no step yet' : `from ${share(first.acc[0])}`)}
${trainedOn(produced, trainStarted)}
${fact('Steps', last === undefined ? '0' : count(last.step), steps(trainStarted?.ranks, trained?.seconds))}
</dl>`
}

/** Shows tokens, or samples if some were held out: the events count the tokens of all samples only. */
function trainedOn(produced: RunHistory['produced'], started: RunHistory['trainStarted']): Markup {
  const all = produced?.samples ?? started?.samples
  if (started !== null && started.samples !== all) {
    return fact(
      'Trained on',
      count(started.samples),
      `of ${plural(all ?? 0, 'sample')}, ${count(started.heldOut)} held out`,
    )
  }
  if (produced !== null)
    return fact('Features', count(produced.tokens), `tokens in ${plural(produced.samples, 'sample')}`)
  return started === null ? fact('Trained on', 'n/a', 'tokens') : fact('Trained on', count(started.samples), 'samples')
}

const share = (value: number | null | undefined): string => (value == null ? 'n/a' : percent(value))

function steps(ranks: number | undefined, seconds: number | undefined): string {
  const where = ranks === undefined ? '' : ` on ${plural(ranks, 'rank')}`
  return seconds === undefined ? `optimiser steps${where}` : `${duration(seconds)}${where}`
}

const fact = (name: string, value: string, note: string): Markup =>
  html`<div><dt>${name}</dt><dd>${value}<small>${note}</small></dd></div>`

type CountRow = readonly [what: string, count: string, meaning: string]

/**
 * What happened to the data in this run. `hasHealth`: the counts of the manifest stand above already, and those of the
 * producer are left out.
 */
export function runCounts(history: RunHistory, unreadable: number, hasHealth: boolean): Markup {
  const { produced, trainStarted, restarts, lost, spikes } = history
  if (produced === null && !hasHealth) return html`<p class="lead">No producer has run in this run folder.</p>`
  const broken = 'incomplete lines, usually of a killed process'
  const rows: CountRow[] = [
    ...(hasHealth ? [] : producerRows(history)),
    ['Dropped', count(trainStarted?.leftOver ?? 0), 'samples per epoch, so that every rank has an equal share'],
    ['Held out', count(trainStarted?.heldOut ?? 0), 'samples for validation only'],
    ['Lost', count(lost.length), 'samples that training could not read'],
    ['Spikes', count(spikes.length), 'steps with an unusually high loss or gradient norm'],
    ['Restarts', count(restarts), 'of the training'],
    ...(unreadable > 0 ? [['Unreadable events', count(unreadable), broken] as const] : []),
  ]
  const body = rows.map(
    ([name, value, note]) => html`<tr><th scope="row">${name}</th><td>${value}</td><td>${note}</td></tr>`,
  )
  return html`<div class="card below"><table class="health"><caption>This run</caption><thead><tr><th scope="col">What</th><th scope="col">Count</th><th scope="col">Meaning</th></tr></thead><tbody>${body}</tbody></table></div>`
}

function producerRows({ produced, refused }: RunHistory): CountRow[] {
  if (produced === null) return []
  return [
    ['Samples', count(produced.samples), 'in the manifest'],
    ['Skipped', count(produced.skipped), 'samples without a trained token; not stored'],
    ['Refused', count(produced.refused), 'inputs that are bad; not stored'],
    ...refused.map((kind): CountRow => [`- ${kind.why}`, count(kind.samples), kind.places.join('; ')]),
    ['Repeats', count(produced.repeats), 'samples with the ids and the mask of an earlier one; used all the same'],
    ['Cut', count(produced.cut), "samples longer than data.maxLength or the target's positions"],
    ['Resumed', count(produced.resumed), 'samples that an earlier, interrupted start had published'],
    ['Tokens', count(produced.tokens), ''],
    [
      'Trained',
      count(produced.lossTokens),
      produced.tokens > 0
        ? `${percent(produced.lossTokens / produced.tokens)} of the tokens; training predicts these`
        : '',
    ],
    ['Bytes', bytes(produced.bytes), 'in the store'],
  ]
}

/** The memory of the training, by part. */
export function memoryTable({ memory }: RunHistory): Markup {
  if (memory === null) return nothing
  const rows = memoryParts(memory.memory).map(
    ([name, bytes]) => html`<tr><th scope="row">${name}</th><td>${gib(bytes)}</td></tr>`,
  )
  const caption = `Peak ${peakText(memory.memory)}, step ${count(memory.step)}; each figure is the maximum over the ranks`
  return html`<section><h2>Memory</h2><div class="card"><table><caption>${caption}</caption><thead><tr><th scope="col">Part</th><th scope="col">GiB</th></tr></thead><tbody>${rows}</tbody></table></div></section>`
}

export function tauTable(result: Evaluation): Markup {
  const rows = result.bySteps.map(({ steps, tau, tokensPerSecond }) => {
    const factor =
      result.plainTokensPerSecond > 0 ? `${(tokensPerSecond / result.plainTokensPerSecond).toFixed(2)}x` : 'n/a'
    return html`<tr><th scope="row">${steps}</th><td>${tau.toFixed(3)}</td><td>${figure(tokensPerSecond)}</td><td>${factor}</td></tr>`
  })
  const verdict = result.lossless
    ? html`<span class="good">Lossless:</span> output ids equal plain greedy decoding.`
    : html`<span class="bad">Not lossless:</span> output ids differ from plain greedy decoding.`
  return html`<div class="card"><table><caption>Chain decoding of ${plural(result.prompts, 'held-out prompt')}</caption><thead><tr><th scope="col">Draft steps</th><th scope="col">Tau</th><th scope="col">Tokens/s</th><th scope="col">Speed-up here</th></tr></thead><tbody>${rows}</tbody></table>
<p class="note">Draft: <code>${result.draft}</code>.</p>
<p class="note">${verdict} Plain decoding: ${figure(result.plainTokensPerSecond)} tokens/s. Speed-up: ${speedUp(result)}.</p></div>`
}

export function acceptanceTable({ bySteps }: Evaluation): Markup {
  const positions = Math.max(0, ...bySteps.map(({ acceptance }) => acceptance.length))
  const all = Array.from({ length: positions }, (_, index) => index)
  const heads = all.map((index) => html`<th scope="col">${index + 1}</th>`)
  const rows = bySteps.map(({ steps, acceptance }) => {
    const cells = all.map((index) => html`<td>${index < acceptance.length ? share(acceptance[index]) : nothing}</td>`)
    return html`<tr><th scope="row">${steps}</th>${cells}</tr>`
  })
  return html`<div class="card"><table><caption>Acceptance by draft position, where all earlier positions were accepted</caption><thead><tr><th scope="col">Draft steps</th>${heads}</tr></thead><tbody>${rows}</tbody></table></div>`
}
