import { conditionOf, no, propagated, unknown, yes, type Verdict } from '../conditions.ts';
import type { RuntimeFailure } from '../ports.ts';
import type { RevisionObservation } from './plan.ts';

export interface Facts {
  /** The initial scale has been reached, now or ever. */
  initialDone: boolean;
  /** What the runtime says is the whole truth; otherwise it hasn't been asked yet and the status stands. */
  live: boolean;
  /** For messages. */
  image: string;
}

/** Most that is kept of a container's last words. */
const longestMessage = 2000;

/**
 * The conditions of a Revision, with Knative's reasons; the one that explains a failure best comes first. What is stored
 * stands until something newer is known, so that neither a restart nor the next try of a failing container moves it.
 */
export function verdictsOn(seen: RevisionObservation, facts: Facts): Record<string, Verdict> {
  return {
    ContainerHealthy: containerHealthy(seen, facts),
    ResourcesAvailable: resourcesAvailable(seen, facts),
    Active: { ...active(seen, facts), severity: 'Info' },
  };
}

/** Kubernetes' word for a container that lacks a Secret, a ConfigMap or a key of one. */
const configError = 'CreateContainerConfigError';

/** What the revision refers to and there is not, in a sentence. */
function missingReference({ preparation }: RevisionObservation): string | undefined {
  if (preparation.state !== 'failed') return undefined;
  return /^Reference(Missing|Invalid)$/.test(preparation.code ?? '') ? preparation.message : undefined;
}

function containerHealthy(seen: RevisionObservation, facts: Facts): Verdict {
  const { view, preparation } = seen;
  if (view.ready > 0) return yes;
  if (view.failure) return failed(view.failure);
  const lacking = missingReference(seen);
  if (lacking !== undefined) return facts.initialDone ? no(configError, lacking) : unknown('Deploying', lacking);
  if (preparation.state === 'failed') {
    return no('ContainerMissing', `Unable to fetch image "${facts.image}": ${preparation.message}`);
  }
  const stored = conditionOf(seen.revision, 'ContainerHealthy');
  const healed = ['ContainerMissing', configError].includes(stored?.reason ?? '') && preparation.state === 'prepared';
  if (stored && stored.status !== 'Unknown' && !healed) return propagated(stored);
  return facts.initialDone ? yes : underWay(seen);
}

function resourcesAvailable(seen: RevisionObservation, facts: Facts): Verdict {
  if (facts.initialDone) return yes;
  if (seen.overdue) {
    const why = seen.view.failure ? `: ${seen.view.failure.message}` : '';
    return no('ProgressDeadlineExceeded', `Initial scale was never achieved${why}`);
  }
  const lacking = missingReference(seen);
  if (lacking !== undefined) return no(configError, lacking);
  const stored = conditionOf(seen.revision, 'ResourcesAvailable');
  const healed = stored?.reason === configError && seen.preparation.state === 'prepared';
  return stored?.status === 'False' && !healed ? propagated(stored) : underWay(seen);
}

function active(seen: RevisionObservation, facts: Facts): Verdict {
  const { view, revision } = seen;
  const stored = conditionOf(revision, 'Active');
  if (!facts.live) return stored ? propagated(stored) : unknown('Deploying', 'The target is being deployed.');
  if (view.ready > 0) return yes;
  if (view.desired > 0 || view.starting > 0) {
    return unknown('Queued', 'Requests to the target are being buffered as resources are provisioned.');
  }
  return no('NoTraffic', 'The target is not receiving traffic.');
}

function underWay(seen: RevisionObservation): Verdict {
  const { preparation } = seen;
  if (preparation.state === 'prepared') return unknown('Deploying', 'The container is starting.');
  const progress = preparation.state === 'preparing' ? preparation.progress : undefined;
  return unknown('ResolvingDigests', progress ?? 'The image is being fetched.');
}

function failed(failure: RuntimeFailure): Verdict {
  const words = failure.lastLogLines.join('\n').trim();
  switch (failure.reason) {
    case 'Error':
    case 'Completed':
      // Knative: `Container failed with: <the container's termination message>`.
      return no(`ExitCode${failure.code}`, cut(`Container failed with: ${words || failure.message}`));
    default:
      return no(
        failure.reason,
        cut(`Container failed: ${failure.message}${words ? `; it last printed: ${words}` : ''}`),
      );
  }
}

/** The end is what tells most. */
function cut(text: string): string {
  return text.length <= longestMessage ? text : `${text.slice(0, 60)} ... ${text.slice(60 - longestMessage)}`;
}
