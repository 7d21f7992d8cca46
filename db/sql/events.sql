-- name: list_events :many
select seq, type, data from run_events where run_id = $1 and seq > $2 order by seq limit $3;
