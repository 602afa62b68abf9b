// Ids of entries in the stream, such as 1654276074092-0, which order as the entries do.

// Whether the entry with one id comes after that with another.
export function isAfter(one, other) {
  const [[a, b], [c, d]] = [one, other].map((id) => id.split("-").map(Number));
  return a > c || (a === c && b > d);
}
