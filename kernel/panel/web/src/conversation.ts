// The conversation as it is shown: what the session has of it, and what this page has asked.

import type { Exchange } from "./protocol";
import type { Job } from "./reducer";

/** A question that this page has sent; its answers are those of its job. */
export interface Turn {
  job: Job;
  text: string;
  /** Addresses of pictures. */
  pictures: string[];
  /** Whether several were asked: such a question is not part of the conversation. */
  isCompare: boolean;
  /** Behind how many questions of the conversation it stands. */
  at: number;
}

export function isOnItsWay({ job, isCompare }: Turn): boolean {
  return !job.isDone && !isCompare;
}

/**
 * Both in their order. A question of this page becomes one of the conversation: the kernel tells that when it is answered,
 * before the page hears of its end or after.
 */
export function inOrder(chat: Exchange[], turns: Turn[]): (Exchange | Turn)[] {
  const isTaken = ({ job, isCompare, at }: Turn) => job.isDone && !job.failure && !isCompare && at < chat.length;
  const own = turns.filter((turn) => !isTaken(turn));
  const found = chat.flatMap((exchange, place) => {
    const here = own.filter(({ at }) => at === place);
    return here.some(isOnItsWay) ? here : [...here, exchange];
  });
  return [...found, ...own.filter(({ at }) => at >= chat.length)];
}
