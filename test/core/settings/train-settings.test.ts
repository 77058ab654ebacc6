import { expect, it } from 'vitest'
import { TrainSettings, trainIdentity } from '../../../src/core/settings/train-settings.ts'

const defaults = TrainSettings.parse({})

it('leaves a key that came later out of the identity until it is changed, so that older checkpoints still fit', () => {
  expect(trainIdentity(defaults)).not.toHaveProperty('train.deterministic')
  expect(trainIdentity({ ...defaults, deterministic: true })).toMatchObject({ 'train.deterministic': true })
})

it('has the settings that decide the numbers, and none that only decides how they are reached', () => {
  expect(Object.keys(trainIdentity(defaults)).sort()).toEqual([
    'train.accumulate',
    'train.epochs',
    'train.maxSteps',
    'train.optimizer',
    'train.precision',
    'train.shuffle',
    'train.ttt',
  ])
})
