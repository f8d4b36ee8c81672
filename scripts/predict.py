"""Predicts new rows with a trained model.

``python scripts/predict.py model=outputs/RUN input=new.csv output=predictions.csv [on_error=skip]``
"""

from dir.bundle.cli import predict_main

if __name__ == "__main__":
    predict_main()
