// The buttons above the shell: [name, what it shows, what is typed].

export const EXAMPLES = [
  [
    'Elements',
    'A sample table',
    `.sample
SELECT number, symbol, name, mass FROM elements WHERE period <= 2;`,
  ],
  [
    'Group',
    'A query over the sample table',
    `SELECT period, count(*) AS elements, round(avg(mass), 2) AS mean_mass,
       group_concat(symbol, ' ') AS symbols
FROM elements GROUP BY period;`,
  ],
  [
    '10,000 rows',
    'One large transaction',
    `CREATE TABLE IF NOT EXISTS points(id INTEGER PRIMARY KEY, x REAL, y REAL);
INSERT INTO points(x, y)
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10000)
  SELECT random() / 1e18, random() / 1e18 FROM n;
SELECT count(*) AS points, round(avg(x), 4) AS mean_x FROM points;`,
  ],
  [
    'Search',
    'Full-text search',
    `CREATE VIRTUAL TABLE IF NOT EXISTS notes USING fts5(text);
INSERT INTO notes VALUES ('A write is durable when fsync returns'), ('A journal makes many writes one');
SELECT highlight(notes, 0, '[', ']') AS found FROM notes WHERE notes MATCH 'write*';`,
  ],
  ['Small commits', '1,000 transactions, each of them durable before the next one', '.bulk 1000 100'],
  ['Check', 'Is the database sound?', 'PRAGMA integrity_check;'],
  ['Help', 'What the shell knows', '.help'],
];
