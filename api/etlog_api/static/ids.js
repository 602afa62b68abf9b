// Ids of events in the stream: that of the entry, such as 1654276074092-0, and the place in it, such as
// 1654276074092-0.12, unless it is the first. They order as the events do.

// Whether the event with one id comes after that with another.
export function isAfter(one, other) {
  const [a, b] = [one, other].map((id) => [...id.split(/[-.]/).map(Number), 0]);
  const differs = [0, 1, 2].find((part) => a[part] !== b[part]);
  return differs !== undefined && a[differs] > b[differs];
}
