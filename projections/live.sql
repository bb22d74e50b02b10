-- What the live feed asks the tables, each statement under its name.

-- name: projected_stand
-- Behind which round of a partition the tables stand: enough to go on reading its log there.
SELECT notification_id AS next_offset, epoch, inbox_position, digest, next_id
FROM projection_positions
WHERE topic = %(topic)s AND partition = %(partition)s AND digest IS NOT NULL
