-- When the log-in began whose grant opened a session: an event ends only sessions whose log-in is older. `begun_at` is
-- later, and `password_at` moves when the password is entered again. A session without it is as old as `begun_at` says.
ALTER TABLE session ADD COLUMN login_at timestamptz;
