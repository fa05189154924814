-- How many numbers are sealed with which key, for people on call who take an old one out. Nothing about whose they are.
CREATE VIEW numbers_by_key AS
SELECT key_id, count(*) AS numbers
  FROM (SELECT key_id FROM phone_number WHERE sealed IS NOT NULL
         UNION ALL
        SELECT new_key_id FROM request WHERE new_sealed IS NOT NULL) AS sealed
 GROUP BY key_id;

GRANT SELECT ON numbers_by_key TO operator;
